//! Cuts a plan that breaks a promise to one that still does and has nothing to spare.

use super::plan::{Plan, Step};

/// Tries at the most.
const TRIES: usize = 3_000;

/// The shortest plan found, and what it breaks. `run` says what a plan breaks.
pub(super) fn shrink(
    mut plan: Plan,
    mut breaks: String,
    mut run: impl FnMut(&Plan) -> Option<String>,
) -> (Plan, String) {
    let mut tries = 0;
    let mut attempt = |candidate: Plan, plan: &mut Plan, breaks: &mut String| {
        tries += 1;
        if tries > TRIES {
            return false;
        }
        match run(&candidate) {
            Some(broken) => {
                (*plan, *breaks) = (candidate, broken);
                true
            }
            None => false,
        }
    };
    // Ever smaller pieces are left out, until no single step can be.
    let mut piece = plan.steps.len().div_ceil(2);
    while piece > 0 {
        let mut from = 0;
        while from < plan.steps.len() {
            let mut candidate = plan.clone();
            let upto = (from + piece).min(candidate.steps.len());
            candidate.steps.drain(from..upto);
            if !attempt(candidate, &mut plan, &mut breaks) {
                from += piece;
            }
        }
        piece = match piece {
            1 => 0,
            more => more.div_ceil(2),
        };
    }
    // And what goes wrong within the syncs that are left.
    for at in 0..plan.steps.len() {
        while let Some(candidate) = simpler(&plan, at) {
            if !attempt(candidate, &mut plan, &mut breaks) {
                break;
            }
        }
    }
    (plan, breaks)
}

/// The plan with one fault less in the sync at a place.
fn simpler(plan: &Plan, at: usize) -> Option<Plan> {
    let mut candidate = plan.clone();
    let Some(Step::Sync(sync)) = candidate.steps.get_mut(at) else {
        return None;
    };
    let is_simpler = sync.calls.pop().is_some()
        || sync.meanwhile.pop().is_some()
        || sync.killed.take().is_some()
        || std::mem::replace(&mut sync.batch, 1_000) != 1_000;
    is_simpler.then_some(candidate)
}
