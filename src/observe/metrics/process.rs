//! Metrics of this process. Only Linux has them.

/// Prometheus' client libraries share these names and meanings.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nothing makes one"))]
pub(super) struct ProcessFigures {
    pub(super) cpu_seconds: f64,
    pub(super) start_seconds: f64,
    pub(super) resident_bytes: f64,
    pub(super) virtual_bytes: f64,
    pub(super) open_fds: f64,
    pub(super) max_fds: f64,
    pub(super) threads: f64,
}

impl ProcessFigures {
    /// Reads them from `/proc`; `None` if the process may not read its own entry.
    #[cfg(target_os = "linux")]
    pub(super) fn read() -> Option<Self> {
        linux::read().ok()
    }

    /// Other systems have none.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn read() -> Option<Self> {
        None
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use procfs::process::{LimitValue, Process};
    use procfs::{ProcResult, WithCurrentSystemInfo};

    use super::ProcessFigures;

    #[allow(clippy::cast_precision_loss, reason = "they are far below 2^53")]
    pub(super) fn read() -> ProcResult<ProcessFigures> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second() as f64;
        Ok(ProcessFigures {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            start_seconds: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
            resident_bytes: stat.rss_bytes().get() as f64,
            virtual_bytes: stat.vsize as f64,
            open_fds: process.fd_count()? as f64,
            max_fds: match process.limits()?.max_open_files.soft_limit {
                LimitValue::Value(limit) => limit as f64,
                LimitValue::Unlimited => f64::INFINITY,
            },
            threads: stat.num_threads as f64,
        })
    }
}
