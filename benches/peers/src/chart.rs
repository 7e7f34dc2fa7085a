//! The figures as a chart: nanoseconds over the number of bindings, with both axes logarithmic.

use std::fmt::Write;

use crate::{Row, report::root};

const COLORS: [(&str, &str); 10] = [
    ("floor", "#999999"),
    ("keyward", "#c0392b"),
    ("naive", "#bbbbbb"),
    ("wildmatch", "#7f8c8d"),
    ("wildcard", "#95a5a6"),
    ("globset", "#2980b9"),
    ("glob-set", "#16a085"),
    ("regex RegexSet", "#8e44ad"),
    ("regex-automata dense", "#d35400"),
    ("regex-automata hybrid", "#f39c12"),
];

const PANEL: (f64, f64) = (340.0, 300.0);
const MARGIN: (f64, f64) = (60.0, 40.0);

/// Draws the first two mixes side by side into `docs/resolver.svg`.
pub fn draw(rows: &[Row]) {
    let width = 2.0 * (PANEL.0 + MARGIN.0) + 40.0;
    let height = PANEL.1 + MARGIN.1 + 100.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (mix, title) in [(1, "90% exact"), (2, "40% exact, 40% prefix*, 20% other")] {
        let left = MARGIN.0 + f64::from(mix - 1) * (PANEL.0 + MARGIN.0);
        panel(&mut svg, rows, mix as u8, title, left);
    }
    legend(&mut svg);
    svg.push_str("</svg>\n");
    let docs = root().join("docs");
    std::fs::create_dir_all(&docs).expect("the directory can be made");
    std::fs::write(docs.join("resolver.svg"), svg).expect("the drawing can be written");
}

/// The point for these figures: ten to a million bindings from left to right, ten nanoseconds to a hundred
/// milliseconds upwards.
fn place(bindings: f64, ns: f64, left: f64) -> (f64, f64) {
    let x = left + (bindings.log10() - 1.0) / 5.0 * PANEL.0;
    let y = MARGIN.1 + PANEL.1 - (ns.log10() - 1.0) / 7.0 * PANEL.1;
    (x, y)
}

fn panel(svg: &mut String, rows: &[Row], mix: u8, title: &str, left: f64) {
    let (bottom, right) = (MARGIN.1 + PANEL.1, left + PANEL.0);
    line(
        svg,
        &format!("<text x=\"{left}\" y=\"22\" font-size=\"13\">Bindings: {title}</text>"),
    );
    for (power, label) in (1..).zip(["10", "100", "1,000", "10,000", "100,000", "1,000,000"]) {
        let (x, _) = place(10f64.powi(power), 10.0, left);
        line(
            svg,
            &format!(
                "<path d=\"M{x:.1} {}V{bottom}\" stroke=\"#eeeeee\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                MARGIN.1,
                bottom + 15.0
            ),
        );
    }
    for (power, label) in (1..).zip([
        "10 ns", "100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms",
    ]) {
        let (_, y) = place(10.0, 10f64.powi(power), left);
        line(
            svg,
            &format!(
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#eeeeee\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 5.0,
                y + 4.0
            ),
        );
    }
    for (design, color) in COLORS {
        let points: Vec<String> = rows
            .iter()
            .filter(|row| row.mix == mix && row.design == design)
            .map(|row| {
                let (x, y) = place(row.bindings as f64, row.ns, left);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let width = if design == "keyward" { 3 } else { 1 };
        line(
            svg,
            &format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"/>",
                points.join(" ")
            ),
        );
    }
}

fn legend(svg: &mut String) {
    for (i, (design, color)) in COLORS.iter().enumerate() {
        let x = MARGIN.0 + (i % 5) as f64 * 150.0;
        let y = MARGIN.1 + PANEL.1 + 45.0 + (i / 5) as f64 * 20.0;
        line(
            svg,
            &format!(
                "<path d=\"M{x} {y}h20\" stroke=\"{color}\" stroke-width=\"3\"/>\
             <text x=\"{}\" y=\"{}\">{design}</text>",
                x + 25.0,
                y + 4.0
            ),
        );
    }
}

fn line(svg: &mut String, text: &str) {
    writeln!(svg, "{text}").expect("a string takes all");
}
