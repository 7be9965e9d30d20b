//! INFO's sections about commands and errors: how often, how long, at which percentiles.

use super::Text;
use crate::admin::params::Id;
use crate::admin::stats::{self, CommandTotals};
use crate::base::num::f64_text;
use crate::cmd::command::Cx;
use crate::cmd::memory::ratio;
use crate::cmd::table;
use std::collections::BTreeMap;

/// One line per command that was called or refused. Calls are counted; their time is estimated where it was sampled.
pub fn calls(text: &mut Text, cx: &Cx<'_>) {
    for row in table::all() {
        let CommandTotals { calls, ns, rejected, failed } = CommandTotals::of(&cx.world.stats, row.index);
        if calls + rejected + failed > 0 {
            let (usec, per_call) = (ns / 1000, ratio(ns, calls) / 1000.0);
            text.field(
                &format!("cmdstat_{}", row.full_name),
                format_args!(
                    "calls={calls},usec={usec},usec_per_call={per_call:.2},rejected_calls={rejected},failed_calls={failed}"
                ),
            );
        }
    }
}

/// One line per error code that was ever replied.
pub fn errors(text: &mut Text, cx: &Cx<'_>) {
    let mut by_code: BTreeMap<Box<str>, u64> = BTreeMap::new();
    for stats in &cx.world.stats {
        for (code, count) in stats.errors_by_code().iter() {
            *by_code.entry(code.clone()).or_default() += count;
        }
    }
    for (code, count) in by_code {
        text.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

/// One line per command whose times are known, while they are tracked.
pub fn latencies(text: &mut Text, cx: &Cx<'_>) {
    let config = &cx.world.config;
    if config.number(Id::LATENCY_TRACKING) == 0 {
        return;
    }
    let percents: Vec<f64> = config.words(Id::LATENCY_PERCENTILES).iter().flat_map(|word| word.parse()).collect();
    for row in table::all() {
        let Some(all) = stats::latencies(&cx.world.stats, row.index) else { continue };
        let shown = percents
            .iter()
            .map(|&percent| format!("p{}={:.3}", f64_text(percent), all.percentile(percent) as f64 / 1000.0));
        text.field(&format!("latency_percentiles_usec_{}", row.full_name), shown.collect::<Vec<_>>().join(","));
    }
}
