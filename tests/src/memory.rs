//! What a process has of the machine, as Linux tells it: memory and open files.

/// The most memory that the process `pid` has had so far, in MiB; `None` if it has ended.
#[must_use]
pub fn peak(pid: u32) -> Option<f64> {
    Some(kib(&pid.to_string(), "VmHWM:")? as f64 / 1024.0)
}

/// The memory that the process `pid` has now, in KiB; `None` if it has ended.
#[must_use]
pub fn resident(pid: u32) -> Option<u64> {
    kib(&pid.to_string(), "VmRSS:")
}

/// The files, sockets among them, that the process `pid` has open; `None` if it has ended.
#[must_use]
pub fn open_files(pid: u32) -> Option<u64> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(open.count() as u64)
}

/// The memory that this process has now, in KiB.
///
/// # Panics
/// If this is not Linux.
#[must_use]
pub fn now() -> u64 {
    kib("self", "VmRSS:").unwrap()
}

fn kib(process: &str, what: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
