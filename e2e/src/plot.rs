// SPDX-License-Identifier: Apache-2.0
//! Plots as SVG: equal data give equal octets. Colours are classes, so that a plot can be read in light and in dark.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
/// The space of one panel, with its title above and its axis below.
const PANEL: f64 = 266.0;
const LEFT: f64 = 62.0;
/// Here the names of the lines stand.
const RIGHT: f64 = 190.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 52.0;
/// The most marks on the axis of milliseconds.
const MARKS: f64 = 10.0;

/// The colours of lines in light and in dark (Okabe and Ito's, darker or lighter where the ground needs it); the next
/// line has the first one again.
const COLOURS: [(&str, &str); 7] = [
    ("#0072b2", "#56b4e9"),
    ("#b34a00", "#e69f00"),
    ("#00795a", "#2fc79b"),
    ("#a8457f", "#e29cc4"),
    ("#8a6d00", "#f0e442"),
    ("#c0392b", "#ff8a7a"),
    ("#555555", "#bbbbbb"),
];

/// One line of a [`distribution`].
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What was tried.
    pub name: String,
    /// Its place among the colours: equal things have one colour in all panels.
    pub colour: usize,
    /// What each trial took in milliseconds, in any order. What is negative or no number is left out.
    pub milliseconds: Vec<f64>,
}

/// A part of a plot with axes of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// What all lines have in common.
    pub title: String,
    /// The lines.
    pub lines: Vec<Line>,
    /// What no trial should exceed, in milliseconds.
    pub goals: Vec<f64>,
}

/// The share of the trials that were over within a time, one step for each trial. All panels have the same axis of
/// time.
#[must_use]
pub fn distribution(title: &str, panels: &[Panel]) -> String {
    let times = panels.iter().flat_map(|panel| {
        let times = panel.lines.iter().flat_map(|line| line.milliseconds.iter());
        times.chain(&panel.goals).copied()
    });
    let axis = Axis::up_to(times.filter(|time| time.is_finite()).fold(1.0, f64::max));
    let height = PANEL * panels.len() as f64;
    let mut svg = head(title, height);
    for (number, panel) in panels.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(svg, r#"<g transform="translate(0 {})">"#, PANEL * number as f64);
        svg.push_str(&draw(panel, &axis));
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// The axis of time, from 0.
struct Axis {
    step: f64,
    end: f64,
}

impl Axis {
    /// With marks at 1, 2 or 5 times a power of ten.
    fn up_to(longest: f64) -> Self {
        let power = 10_f64.powf((longest / MARKS).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let step = steps.into_iter().find(|step| longest / step <= MARKS).unwrap_or(longest);
        Self { step, end: (longest / step).ceil() * step }
    }

    fn x(&self, milliseconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * milliseconds / self.end
    }

    fn marks(&self) -> impl Iterator<Item = f64> {
        let (step, end) = (self.step, self.end);
        (0_u32..).map(move |mark| f64::from(mark) * step).take_while(move |time| *time <= end)
    }
}

/// Where a share from 0 to 1 is.
fn y(share: f64) -> f64 {
    let (top, bottom) = (TOP, PANEL - BOTTOM);
    bottom - (bottom - top) * share
}

fn head(title: &str, height: f64) -> String {
    let colours = |of: fn(&(&'static str, &'static str)) -> &'static str| {
        let rule = |(number, colour): (usize, &(&'static str, &'static str))| {
            format!(".l{number}{{stroke:{}}}", of(colour))
        };
        COLOURS.iter().enumerate().map(rule).collect::<String>()
    };
    let (light, dark) = (colours(|(light, _)| light), colours(|(_, dark)| dark));
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" font-family="sans-serif" font-size="12">
<title>{title}</title>
<style>
.ground{{fill:#ffffff}}text{{fill:#1f2328}}.grid{{stroke:#d0d7de}}.axis{{stroke:#57606a}}.goal{{stroke:#57606a;stroke-dasharray:5 4}}.line{{fill:none;stroke-width:2}}{light}
@media (prefers-color-scheme:dark){{.ground{{fill:#0d1117}}text{{fill:#e6edf3}}.grid{{stroke:#30363d}}.axis,.goal{{stroke:#8b949e}}{dark}}}
</style>
<rect class="ground" width="{WIDTH}" height="{height}"/>
"#,
        title = escaped(title),
    )
}

fn draw(panel: &Panel, axis: &Axis) -> String {
    let (left, right, bottom) = (axis.x(0.0), axis.x(axis.end), y(0.0));
    let mut svg = text(left, TOP - 26.0, "start", &panel.title);
    // Writing to a String cannot fail.
    for quarter in 0_u8..=4 {
        let share = f64::from(quarter) / 4.0;
        let at = y(share);
        let _ = writeln!(svg, r#"<path class="grid" d="M{left:.1} {at:.1}H{right:.1}"/>"#);
        svg.push_str(&text(left - 8.0, at + 4.0, "end", &format!("{} %", share * 100.0)));
    }
    for time in axis.marks() {
        let at = axis.x(time);
        let _ = writeln!(svg, r#"<path class="axis" d="M{at:.1} {bottom:.1}v4"/>"#);
        svg.push_str(&text(at, bottom + 18.0, "middle", &format!("{time}")));
    }
    let _ = writeln!(svg, r#"<path class="axis" d="M{left:.1} {bottom:.1}H{right:.1}"/>"#);
    let middle = f64::midpoint(left, right);
    svg.push_str(&text(middle, bottom + 36.0, "middle", "time until another owner (ms)"));
    let (x, at) = (16.0, y(0.5));
    let _ = writeln!(
        svg,
        r#"<text x="{x}" y="{at:.1}" text-anchor="middle" transform="rotate(-90 {x} {at:.1})">share of trials (%)</text>"#
    );
    for goal in &panel.goals {
        let at = axis.x(*goal);
        let _ = writeln!(svg, r#"<path class="goal" d="M{at:.1} {TOP:.1}V{bottom:.1}"/>"#);
        svg.push_str(&text(at, TOP - 6.0, "middle", &format!("goal {goal} ms")));
    }
    for (row, line) in panel.lines.iter().enumerate() {
        let class = line.colour % COLOURS.len();
        let _ = writeln!(svg, r#"<path class="line l{class}" d="{}"/>"#, steps(line, axis));
        let (x, at) = (right + 14.0, TOP + 8.0 + 18.0 * row as f64);
        let _ = writeln!(svg, r#"<path class="line l{class}" d="M{x:.1} {at:.1}h18"/>"#);
        svg.push_str(&text(x + 24.0, at + 4.0, "start", &line.name));
    }
    svg
}

/// From no trial at 0 ms up by one step at each trial, and on to the end of the axis.
fn steps(line: &Line, axis: &Axis) -> String {
    let mut times = line.milliseconds.clone();
    times.retain(|time| time.is_finite() && *time >= 0.0);
    times.sort_by(f64::total_cmp);
    let count = times.len().max(1) as f64;
    let mut path = format!("M{:.1} {:.1}", axis.x(0.0), y(0.0));
    for (index, time) in times.iter().enumerate() {
        let share = (index + 1) as f64 / count;
        let _ = write!(path, "H{:.1}V{:.1}", axis.x(*time), y(share));
    }
    let _ = write!(path, "H{:.1}", axis.x(axis.end));
    path
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", escaped(words))
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panels() -> Vec<Panel> {
        let line = |name: &str, colour, milliseconds: &[f64]| Line {
            name: name.to_owned(),
            colour,
            milliseconds: milliseconds.to_vec(),
        };
        let first = vec![
            line("link cut", 0, &[398.1, 301.0, 350.7]),
            line("a < b & \"c\"", 8, &[f64::NAN, -1.0, 0.0]),
        ];
        vec![
            Panel { title: "3 nodes".to_owned(), lines: first, goals: vec![500.0, 30.0] },
            Panel {
                title: "nothing tried".to_owned(),
                lines: vec![line("none", 1, &[])],
                goals: Vec::new(),
            },
        ]
    }

    #[test]
    fn equal_data_in_any_order_give_equal_octets() {
        let mut other = panels();
        other[0].lines[0].milliseconds.reverse();
        assert_eq!(distribution("Failover", &panels()), distribution("Failover", &other));
    }

    #[test]
    fn the_plot_is_xml_with_axes_goals_and_names() {
        let svg = distribution("Failover & more", &panels());
        let document = roxmltree::Document::parse(&svg).unwrap();
        let words: Vec<&str> = document.descendants().filter_map(|node| node.text()).collect();
        for wanted in [
            "Failover & more",
            "3 nodes",
            "time until another owner (ms)",
            "share of trials (%)",
            "goal 500 ms",
            "goal 30 ms",
            "link cut",
            "a < b & \"c\"",
            "100 %",
        ] {
            assert!(words.contains(&wanted), "no {wanted:?} among {words:?}");
        }
    }

    #[test]
    fn every_trial_is_a_step_at_its_time_and_share_within_the_panel() {
        let axis = Axis::up_to(500.0);
        assert_eq!((axis.step, axis.end), (50.0, 500.0));
        let lines = &panels()[0].lines;
        let (left, right, all) = (axis.x(0.0), axis.x(500.0), y(1.0));
        let third = |count: f64| y(count / 3.0);
        assert_eq!(
            steps(&lines[0], &axis),
            format!(
                "M{left:.1} {:.1}H{:.1}V{:.1}H{:.1}V{:.1}H{:.1}V{all:.1}H{right:.1}",
                y(0.0),
                axis.x(301.0),
                third(1.0),
                axis.x(350.7),
                third(2.0),
                axis.x(398.1),
            )
        );
        assert_eq!(
            steps(&lines[1], &axis),
            format!("M{left:.1} {:.1}H{left:.1}V{all:.1}H{right:.1}", y(0.0))
        );
        assert!(left >= LEFT && right <= WIDTH - RIGHT && all >= TOP && y(0.0) <= PANEL - BOTTOM);
        for longest in [1.0, 3.0, 99.9, 398.1, 1234.5, 60_000.0] {
            let axis = Axis::up_to(longest);
            assert!(axis.end >= longest && axis.marks().count() <= 12, "{longest}");
        }
    }
}
