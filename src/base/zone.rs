//! The local time zone, for log lines.

/// Seconds by which local time is ahead of UTC at `unix_s`; 0 if the zone is not known.
/// Source: localtime_r(3).
pub fn utc_offset(unix_s: u64) -> i64 {
    let Ok(time) = libc::time_t::try_from(unix_s) else { return 0 };
    // SAFETY: all fields of `tm` may be zero, its pointer to the zone's name too.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals; localtime_r is thread-safe.
    let result = unsafe { libc::localtime_r(&time, &mut parts) };
    if result.is_null() { 0 } else { parts.tm_gmtoff }
}

#[cfg(test)]
mod tests {
    use super::utc_offset;

    #[test]
    fn an_offset_is_less_than_a_day() {
        assert!(utc_offset(1_700_000_000).abs() < 86_400);
    }
}
