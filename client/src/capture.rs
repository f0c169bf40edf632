//! Capture: which tables are tracked, the triggers that note what the app writes, and the log they append to.
