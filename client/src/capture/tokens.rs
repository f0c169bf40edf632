//! SQL in tokens: as much of its grammar as it takes to see which tables a trigger writes to, and what an
//! index is made of.
//!
//! Must not know a connection.

use colsync_shared::sql::literal;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A keyword, a bare name, or a number.
    Word,
    /// A name in double quotes, backticks or brackets.
    Name,
    /// A text in single quotes. SQLite takes one for a name where only a name can stand.
    Text,
    /// A single character of punctuation.
    Symbol,
}

/// A token of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token<'a> {
    kind: Kind,
    /// As it is written.
    source: &'a str,
    /// Whether space or a comment stands before it.
    gap: bool,
}

/// What a `CREATE INDEX` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IndexText {
    /// Its terms, each without collation and direction.
    pub(super) terms: Vec<String>,
    /// The condition of a partial index.
    pub(super) predicate: Option<String>,
    /// Every name in its terms and its condition; more than the columns.
    pub(super) names: Vec<String>,
}

impl Token<'_> {
    fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.source.eq_ignore_ascii_case(word)
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.source == symbol
    }

    /// The name that it is, if it can be one.
    fn name(&self) -> Option<String> {
        let inner = || {
            let mut characters = self.source.chars();
            characters.next();
            characters.next_back();
            characters.as_str()
        };
        match self.kind {
            Kind::Word => Some(self.source.to_owned()),
            Kind::Name | Kind::Text => {
                let quote = self.source.chars().next()?;
                let twice = format!("{quote}{quote}");
                Some(inner().replace(&twice, &quote.to_string()))
            }
            Kind::Symbol => None,
        }
    }
}

/// The names of the tables that a trigger writes to, as its SQL spells them.
pub(super) fn written(trigger: &str) -> Vec<String> {
    let tokens = tokens(trigger);
    let body = tokens
        .iter()
        .position(|token| token.is_word("BEGIN"))
        .unwrap_or(0);
    let mut found = Vec::new();
    for at in body..tokens.len() {
        let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is_word(word));
        // `INSERT OR IGNORE`: the policy stands between the verb and the rest.
        let after_policy = |at: usize| if is(at, "OR") { at + 2 } else { at };
        let target = if is(at, "UPDATE") {
            // The `DO UPDATE` of an upsert names no table.
            let of_upsert = at > 0 && is(at - 1, "DO");
            (!of_upsert).then(|| after_policy(at + 1))
        } else if is(at, "INSERT") || (is(at, "REPLACE") && !(at > 0 && is(at - 1, "OR"))) {
            // `replace(…)` is a function, and `INSERT OR REPLACE` is seen at its `INSERT`.
            let into = after_policy(at + 1);
            is(into, "INTO").then_some(into + 1)
        } else if is(at, "DELETE") {
            is(at + 1, "FROM").then_some(at + 2)
        } else {
            None
        };
        let Some(target) = target else { continue };
        let qualified = tokens.get(target + 1).is_some_and(|t| t.is_symbol("."));
        let name = tokens.get(if qualified { target + 2 } else { target });
        found.extend(name.and_then(Token::name));
    }
    found
}

/// Whether a constraint in a `CREATE TABLE` says what is to become of a conflict.
pub(super) fn resolves(table: &str) -> bool {
    let tokens = tokens(table);
    let mut pairs = tokens.iter().zip(tokens.iter().skip(1));
    pairs.any(|(on, conflict)| on.is_word("ON") && conflict.is_word("CONFLICT"))
}

/// A trigger that ends the transaction, or leaves a statement half done, where it refuses a row, as one that undoes the
/// statement; None if it does neither.
pub(super) fn softened(trigger: &str) -> Option<String> {
    let mut tokens = tokens(trigger);
    let mut any = false;
    for at in 2..tokens.len() {
        let is_raise = tokens.get(at - 2).is_some_and(|t| t.is_word("RAISE"))
            && tokens.get(at - 1).is_some_and(|t| t.is_symbol("("));
        if let Some(action) = tokens.get_mut(at)
            && is_raise
            && (action.is_word("ROLLBACK") || action.is_word("FAIL"))
        {
            action.source = "ABORT";
            any = true;
        }
    }
    any.then(|| joined(&tokens))
}

/// The first column that an `UPDATE OF` trigger waits for.
pub(super) fn waits_for(trigger: &str) -> Option<String> {
    let tokens = tokens(trigger);
    let of = tokens.iter().position(|token| token.is_word("OF"))?;
    tokens.get(of + 1)?.name()
}

/// Whether a `CREATE TABLE` says that its numbers are not given a second time.
pub(super) fn is_autoincrement(table: &str) -> bool {
    tokens(table)
        .iter()
        .any(|token| token.is_word("AUTOINCREMENT"))
}

/// What is in a `CREATE INDEX`; None if it is not to be understood.
pub(super) fn index(sql: &str) -> Option<IndexText> {
    let tokens = tokens(sql);
    let on = tokens.iter().position(|token| token.is_word("ON"))?;
    let open = on + 2;
    if !tokens.get(open)?.is_symbol("(") {
        return None;
    }
    let mut terms: Vec<&[Token<'_>]> = Vec::new();
    let mut depth = 0_usize;
    let mut start = open + 1;
    let mut end = None;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth -= 1;
        }
        let is_comma = token.is_symbol(",");
        if depth == 0 || (depth == 1 && is_comma) {
            terms.push(tokens.get(start..at)?);
            start = at + 1;
        }
        if depth == 0 {
            end = Some(at);
            break;
        }
    }
    let rest = tokens.get(end? + 1..)?;
    let predicate = match rest.split_first() {
        None => None,
        Some((first, condition)) if first.is_word("WHERE") => Some(joined(condition)),
        Some(_) => return None,
    };
    let names = tokens.get(open..)?.iter().filter_map(Token::name).collect();
    Some(IndexText {
        terms: terms
            .into_iter()
            .map(|term| joined(without_order(term)))
            .collect(),
        predicate,
        names,
    })
}

/// A column's default as an expression that can stand anywhere. SQLite keeps its text without parentheses,
/// and takes a name for a text there.
pub(super) fn default_value(default: &str) -> String {
    const VALUES: [&str; 6] = [
        "NULL",
        "TRUE",
        "FALSE",
        "CURRENT_TIME",
        "CURRENT_DATE",
        "CURRENT_TIMESTAMP",
    ];
    let tokens = tokens(default);
    let as_name = match tokens.as_slice() {
        [only] if only.kind == Kind::Name => only.name(),
        [only]
            if only.kind == Kind::Word
                && !only.source.starts_with(|c: char| c.is_ascii_digit())
                && !VALUES.iter().any(|value| only.is_word(value)) =>
        {
            only.name()
        }
        _ => None,
    };
    match as_name {
        Some(text) => literal(&text),
        None => format!("({})", joined(&tokens)),
    }
}

/// A term of an index without `COLLATE x`, `ASC` and `DESC` at its end.
fn without_order<'a, 'b>(term: &'b [Token<'a>]) -> &'b [Token<'a>] {
    match term {
        [rest @ .., last] if last.is_word("ASC") || last.is_word("DESC") => without_order(rest),
        [rest @ .., collate, _name] if collate.is_word("COLLATE") => without_order(rest),
        term => term,
    }
}

/// The tokens as SQL once more, on one line and without comments.
fn joined(tokens: &[Token<'_>]) -> String {
    let mut sql = String::new();
    for token in tokens {
        if token.gap && !sql.is_empty() {
            sql.push(' ');
        }
        sql.push_str(token.source);
    }
    sql
}

fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = sql;
    let mut gap = false;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = match first {
            c if c.is_ascii_whitespace() => (None, 1),
            '-' if rest.starts_with("--") => (None, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (None, until(rest, 2, "*/")),
            '\'' => (Some(Kind::Text), quoted(rest, '\'')),
            '"' | '`' => (Some(Kind::Name), quoted(rest, first)),
            '[' => (Some(Kind::Name), until(rest, 1, "]")),
            c if is_of_word(c) => {
                let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                (Some(Kind::Word), end)
            }
            c => (Some(Kind::Symbol), c.len_utf8()),
        };
        let (source, after) = rest.split_at(length);
        match kind {
            Some(kind) => {
                found.push(Token { kind, source, gap });
                gap = false;
            }
            None => gap = true,
        }
        rest = after;
    }
    found
}

/// SQLite takes everything beyond ASCII for a letter.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// The length of what ends with `end`, looked for from `start` on.
fn until(text: &str, start: usize, end: &str) -> usize {
    text.get(start..)
        .and_then(|inner| inner.find(end))
        .map_or(text.len(), |at| start + at + end.len())
}

/// The length of what stands in quotes, where a doubled quote is one of the text's own.
fn quoted(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c != quote {
            continue;
        }
        if characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_that_a_trigger_writes_to_are_found_however_they_are_written() {
        let sql = "CREATE TRIGGER x AFTER UPDATE OF a ON t WHEN replace(NEW.a, 'x', '') BEGIN
            UPDATE a SET x = 1; update or ignore [b c] set x = 2; -- UPDATE no SET x = 1
            INSERT INTO `d` VALUES (1) ON CONFLICT DO UPDATE SET x = 'DELETE FROM no';
            INSERT OR REPLACE INTO \"e\"\"e\" SELECT replace(x, 1, 2) FROM no;
            /* DELETE FROM no */ REPLACE INTO 'f' VALUES (1); DELETE FROM main.g WHERE x; END";
        assert_eq!(
            written(sql),
            ["a", "b c", "d", "e\"e", "f", "g"].map(str::to_owned)
        );
    }

    #[test]
    fn an_index_gives_its_terms_and_its_condition() {
        let sql = "CREATE UNIQUE INDEX i ON [t](a COLLATE NOCASE DESC, -- why
            lower(trim(b, ',)')) COLLATE RTRIM, \"c,d\"||1.5) WHERE a<>b /* and */ AND c IS NOT ')'";
        let found = index(sql).unwrap();
        assert_eq!(
            found.terms,
            ["a", "lower(trim(b, ',)'))", "\"c,d\"||1.5"].map(str::to_owned)
        );
        assert_eq!(found.predicate.unwrap(), "a<>b AND c IS NOT ')'");
        for name in ["a", "b", "c,d", "c"] {
            assert!(found.names.iter().any(|found| found == name), "{name}");
        }
        assert_eq!(index("CREATE INDEX i ON t(a)").unwrap().predicate, None);
    }

    #[test]
    fn a_default_that_is_a_name_is_a_text() {
        let cases = [
            ("abc", "'abc'"),
            ("\"a'b\"", "'a''b'"),
            ("'x'", "('x')"),
            ("-1.5e3", "(-1.5e3)"),
            ("current_timestamp", "(current_timestamp)"),
            ("1 + /* one */ 1", "(1 + 1)"),
        ];
        for (default, expect) in cases {
            assert_eq!(default_value(default), expect);
        }
    }
}
