//! Small plots, as SVG files that a page shows beside its text.

use std::path::Path;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

/// Wide enough to be read beside text.
const SIZE: (u32, u32) = (640, 400);
/// Of the lines; told apart without colour by their marks' sizes, too.
const COLOURS: [RGBColor; 4] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 96, 14),
    RGBColor(90, 90, 90),
    RGBColor(44, 140, 60),
];

/// One picture.
pub(crate) struct Plot {
    /// The file's name, without its end.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What each axis shows, with its unit.
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    /// Whether the steps of the horizontal axis are factors.
    pub(crate) in_factors: bool,
    pub(crate) lines: Vec<Curve>,
}

/// One line of it.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Plot {
    /// Writes it into `folder`.
    pub(crate) fn draw(&self, folder: &Path) {
        let path = folder.join(format!("{}.svg", self.name));
        let root = SVGBackend::new(&path, SIZE).into_drawing_area();
        root.fill(&WHITE).unwrap();
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(0.0, f64::max);
        let least = all().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let (right, top) = (most(|point| point.0), most(|point| point.1) * 1.3);
        let mut chart = ChartBuilder::on(&root);
        chart
            .caption(self.title, ("sans-serif", 17))
            .margin(12)
            .margin_right(24)
            .x_label_area_size(46)
            .y_label_area_size(72);
        if self.in_factors {
            let x = (least / 1.2..right * 1.2).log_scale();
            self.fill(chart.build_cartesian_2d(x, 0.0..top).unwrap());
        } else {
            self.fill(
                chart
                    .build_cartesian_2d(0.0..right * 1.05, 0.0..top)
                    .unwrap(),
            );
        }
        root.present().unwrap();
    }

    /// Draws axes, lines and legend.
    fn fill<X: Ranged<ValueType = f64> + ValueFormatter<f64>>(&self, mut chart: Chart<'_, X>) {
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .x_label_formatter(
                &|x| match self.in_factors && x.log10().fract().abs() > 1e-6 {
                    // Between powers of ten there is no room.
                    true => String::new(),
                    false => number(*x),
                },
            )
            .y_label_formatter(&|y| number(*y))
            .light_line_style(TRANSPARENT)
            .draw()
            .unwrap();
        for (at, line) in self.lines.iter().enumerate() {
            let (colour, mark) = (COLOURS[at % COLOURS.len()], 3 + at as i32);
            let drawn = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2));
            chart
                .draw_series(drawn)
                .unwrap()
                .label(&line.name)
                .legend(move |(x, y)| {
                    let ends = [(x, y), (x + 18, y)];
                    PathElement::new(ends, colour.stroke_width(2)).into_dyn()
                });
            let marks = line.points.iter();
            chart
                .draw_series(marks.map(|&point| Circle::new(point, mark, colour.filled())))
                .unwrap();
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(200, 200, 200))
            .label_font(("sans-serif", 13))
            .draw()
            .unwrap();
    }
}

type Chart<'a, X> =
    ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, plotters::coord::types::RangedCoordf64>>;

/// With commas, and no more digits than it has.
fn number(value: f64) -> String {
    if value < 10.0 && value.fract() != 0.0 {
        return format!("{value:.2}").trim_end_matches('0').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
