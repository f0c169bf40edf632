//! How much memory a process has had at most, as Linux tells it.

use std::path::Path;

/// The most of the process `pid` so far, in MiB; `None` if it has ended.
pub(crate) fn peak(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// The process whose arguments name `path` and `word`.
pub(crate) fn process(path: &Path, word: &str) -> u32 {
    let path = path.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let found = pids.find(|pid| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        let mut arguments = arguments.split('\0');
        arguments.clone().any(|argument| argument == path)
            && arguments.any(|argument| argument == word)
    });
    found.unwrap_or_else(|| panic!("no process {word} of {path}"))
}

/// What this process has now, in KiB.
pub(crate) fn now() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    kib.unwrap().trim().parse().unwrap()
}
