//! A plot of all queries: what each does in a second of one processor, and what Flink does.

use std::fmt::Write;

use crate::published::flink;
use crate::run::Measured;

/// Pixels.
const ROW: usize = 26;
const LEFT: usize = 60;
const WIDE: usize = 640;
const TOP: usize = 60;

/// The least and the greatest that is shown, thousand events per CPU-second; each line of the scale is ten times the one before.
const LEAST: f64 = 10.0;
const DECADES: f64 = 4.0;

/// Bars on a logarithmic scale, as an SVG document.
pub(crate) fn svg(all: &[Measured]) -> String {
    let high = TOP + ROW * all.len() + 20;
    let wide = LEFT + WIDE + 120;
    let mut plot = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">Nexmark: thousand events per CPU-second (dark: Rivus, light: Flink 2.3)</text>\n"
    );
    for decade in 0..=DECADES as u32 {
        let value = LEAST * 10_f64.powi(decade as i32);
        let at = LEFT + across(value);
        let _ = writeln!(
            plot,
            "<line x1=\"{at}\" y1=\"{TOP}\" x2=\"{at}\" y2=\"{high}\" stroke=\"#ddd\"/>\
             <text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
            TOP - 8
        );
    }
    for (row, measured) in all.iter().enumerate() {
        let y = TOP + ROW * row;
        let ours = measured.events_per_cpu_second / 1e3;
        let _ = writeln!(
            plot,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 8,
            y + 16,
            measured.query
        );
        bar(&mut plot, y + 4, 10, ours, "#1f4e79");
        let mut label = format!("{ours:.0}");
        if let Some(theirs) = flink(measured) {
            bar(&mut plot, y + 14, 6, theirs as f64, "#e3a857");
            let _ = write!(label, " ({:.1} times)", ours / theirs as f64);
        }
        let _ = writeln!(
            plot,
            "<text x=\"{}\" y=\"{}\">{label}</text>",
            LEFT + across(ours) + 6,
            y + 14
        );
    }
    plot + "</svg>\n"
}

fn bar(plot: &mut String, y: usize, high: usize, value: f64, color: &str) {
    let wide = across(value);
    let _ = writeln!(
        plot,
        "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" fill=\"{color}\"/>"
    );
}

/// How far to the right a value is, pixels.
fn across(value: f64) -> usize {
    let decades = (value.max(LEAST) / LEAST).log10().min(DECADES);
    (decades / DECADES * WIDE as f64) as usize
}
