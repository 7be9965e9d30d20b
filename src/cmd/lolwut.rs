//! LOLWUT: a piece of rope, twisted anew at each call.
//!
//! ```text
//!  oo ##      two strands, half a turn apart; where they cross, the one in front hides the other;
//!    #  oo    the rope's turn about its axis is drawn at random
//! ```

use super::command::{Command, Cx, Flow, cmd, flag};
use super::world::{REDIS_VERSION, VERSION};
use crate::base::num::parse_i64;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use std::f64::consts::TAU;

pub static ROWS: &[Command] =
    &[cmd("lolwut", lolwut).arity(-1).flags(flag::READONLY | flag::FAST).group("server", "5.0.0")];

/// Columns and rows, unless others are asked for.
const WIDTH: i64 = 48;
const HEIGHT: i64 = 9;

/// A small picture, and the versions.
/// Shape:  `[VERSION version [columns [rows]]]`; every version shows the same picture.
/// Errors: numbers that are none.
fn lolwut(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (mut width, mut height) = (WIDTH, HEIGHT);
    if args.count() > 2 && args.is(1, "version") {
        let number = |at: usize| parse_i64(args.get(at)).ok_or(ReplyError::NotInteger);
        number(2)?;
        if args.count() > 3 {
            width = number(3)?.clamp(8, 160);
        }
        if args.count() > 4 {
            height = number(4)?.clamp(3, 60);
        }
    }
    let phase = cx.prng.below(1000) as f64 / 1000.0 * TAU;
    let mut text = rope(width as usize, height as usize, phase);
    text.push_str(&format!("\nA rope of two strands, twisted for you. ringdb {VERSION}, Redis ver. {REDIS_VERSION}\n"));
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

/// Two strands twisted around each other. `phase` turns the rope on its axis.
fn rope(width: usize, height: usize, phase: f64) -> String {
    let middle = (height - 1) as f64 / 2.0;
    let row_at = |angle: f64| (middle + middle * angle.sin()).round() as usize;
    let ink = |row: usize, column: usize| {
        let angle = phase + column as f64 / height as f64 * TAU / 1.7;
        let mut strands = [(angle, 'o'), (angle + TAU / 2.0, '#')];
        strands.sort_by(|a, b| b.0.cos().total_cmp(&a.0.cos())); // The one in front first.
        strands.iter().find(|(angle, _)| row_at(*angle) == row).map_or(' ', |&(_, ink)| ink)
    };
    let line = |row| (0..width).map(|column| ink(row, column)).collect::<String>().trim_end().to_string() + "\n";
    (0..height).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::testkit::Client;

    #[test]
    fn both_strands_run_through_every_column() {
        for (width, height) in [(48, 9), (8, 3), (160, 60)] {
            let picture = rope(width, height, 0.3);
            assert_eq!(picture.lines().count(), height);
            let column = |at: usize| picture.lines().filter_map(move |line| line.as_bytes().get(at).copied());
            for at in 0..width {
                let inked = column(at).filter(|&byte| byte != b' ').count();
                assert!((1..=2).contains(&inked), "column {at}: {inked}");
            }
        }
    }

    #[test]
    fn every_version_ends_with_the_versions_and_numbers_are_checked() {
        let mut client = Client::new();
        for line in ["LOLWUT", "LOLWUT VERSION 5", "LOLWUT VERSION 6 20 5", "LOLWUT foo", "LOLWUT VERSION"] {
            assert!(client.run_line(line).ends_with("Redis ver. 7.2.4\\n'"), "{line}");
        }
        for line in ["LOLWUT VERSION x", "LOLWUT VERSION 5 x", "LOLWUT VERSION 5 1 x"] {
            assert_eq!(client.run_line(line), "ERR value is not an integer or out of range", "{line}");
        }
    }
}
