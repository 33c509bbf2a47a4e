//! The report of a simulation as pictures: SVG, without any font of the system.

use std::{fs, io, path::Path};

use peerage::sim::{
    Report,
    report::{Distribution, Sample},
};
use plotters::{coord::Shift, prelude::*};

use super::error::Failure;

/// How large a picture is, in its own units.
const SIZE: (u32, u32) = (800, 480);

/// The colours of lines, in their order; they differ for the colour-blind, too (Okabe and Ito).
const COLOURS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115)];

/// A canvas that is kept in memory.
type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What can go wrong in drawing: nothing, since it only writes to memory.
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// One line of a chart.
struct Line {
    /// What it is, for the legend.
    name: &'static str,
    /// Where it goes.
    points: Vec<(f64, f64)>,
}

/// Draws all there is to draw, each into its own file of the directory.
pub(crate) fn all(report: &Report, dir: &Path) -> Result<(), Failure> {
    let all = &report.histograms;
    write(dir, "sessions.svg", |canvas| {
        histogram(canvas, "Nodes by their sessions", "sessions", &all.sessions)
    })?;
    write(dir, "nodes.svg", |canvas| nodes(canvas, &report.series))?;
    write(dir, "bytes.svg", |canvas| bytes(canvas, &report.series))?;
    if all.route_hops.n() > 0 {
        write(dir, "hops.svg", |canvas| {
            histogram(canvas, "Messages to one node, by their hops", "hops", &all.route_hops)
        })?;
    }
    if all.broadcast_hops.n() > 0 {
        write(dir, "broadcast-hops.svg", |canvas| {
            histogram(canvas, "Deliveries of messages to all, by hops", "hops", &all.broadcast_hops)
        })?;
        write(dir, "broadcast-latency.svg", |canvas| coverage(canvas, &all.broadcast_latency_ms))?;
    }
    Ok(())
}

/// Draws one picture into a file.
fn write(dir: &Path, name: &str, draw: impl FnOnce(&Canvas) -> Drawn) -> Result<(), Failure> {
    let path = dir.join(name);
    let mut text = String::new();
    let drawn = {
        let canvas = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(&canvas).and_then(|()| Ok(canvas.present()?))
    };
    let written = match drawn {
        Ok(()) => fs::write(&path, text),
        Err(error) => Err(io::Error::other(error.to_string())),
    };
    written.map_err(|source| Failure::Write { path, source })
}

/// How many have each value.
fn histogram(canvas: &Canvas, title: &str, what: &str, all: &Distribution) -> Drawn {
    let most = all.counts().map(|(_, n)| n).max().unwrap_or(0);
    // What is beyond is too rare to be seen, and would leave no room for the rest.
    let last = all.quantile(0.999).max(1);
    canvas.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(canvas)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.5..last as f64 + 0.5, 0.0..most as f64 * 1.05)?;
    chart.configure_mesh().disable_x_mesh().x_desc(what).x_label_formatter(&whole).draw()?;
    let colour = COLOURS.first().copied().unwrap_or(BLACK);
    let bars = all.counts().filter(|(value, _)| *value <= last).map(|(value, n)| {
        let value = value as f64;
        Rectangle::new([(value - 0.4, 0.0), (value + 0.4, n as f64)], colour.filled())
    });
    chart.draw_series(bars)?;
    Ok(())
}

/// Nodes over time, and how many of them lacked nothing.
fn nodes(canvas: &Canvas, series: &[Sample]) -> Drawn {
    let of = |value: fn(&Sample) -> f64| points(series, value);
    let lines = [
        Line { name: "living", points: of(|sample| sample.nodes as f64) },
        Line {
            name: "with a session in each bucket",
            points: of(|sample| sample.nodes.saturating_sub(sample.lacking) as f64),
        },
    ];
    chart(canvas, "Nodes", "minutes since the last join", &lines)
}

/// Bytes over time.
fn bytes(canvas: &Canvas, series: &[Sample]) -> Drawn {
    let points = points(series, |sample| sample.bytes);
    let title = "Bytes that a node sends per minute, in the mean";
    chart(canvas, title, "minutes since the last join", &[Line { name: "all", points }])
}

/// How many deliveries were made within which time.
fn coverage(canvas: &Canvas, latency: &Distribution) -> Drawn {
    let all = latency.n().max(1) as f64;
    let mut made = 0;
    let points = latency.counts().map(|(ms, n)| {
        made += n;
        (ms as f64, made as f64 / all * 100.0)
    });
    let line =
        Line { name: "deliveries", points: [(0.0, 0.0)].into_iter().chain(points).collect() };
    let title = "Deliveries of messages to all, in percent";
    chart(canvas, title, "milliseconds since the publishing", &[line])
}

/// A value over the minutes.
fn points(series: &[Sample], value: fn(&Sample) -> f64) -> Vec<(f64, f64)> {
    series.iter().map(|sample| (sample.secs / 60.0, value(sample))).collect()
}

/// Lines, with a legend if they are several.
fn chart(canvas: &Canvas, title: &str, what: &str, lines: &[Line]) -> Drawn {
    let points = || lines.iter().flat_map(|line| &line.points);
    let left = points().map(|(x, _)| *x).fold(0.0, f64::min);
    let right = points().map(|(x, _)| *x).fold(left + 1.0, f64::max);
    let top = points().map(|(_, y)| *y).fold(1.0, f64::max);
    canvas.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(canvas)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(left..right, 0.0..top * 1.05)?;
    chart.configure_mesh().x_desc(what).x_label_formatter(&whole).draw()?;
    for (line, colour) in lines.iter().zip(COLOURS) {
        let stroke = colour.stroke_width(2);
        let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), stroke))?;
        if lines.len() > 1 {
            let mark = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], stroke);
            drawn.label(line.name).legend(mark);
        }
    }
    if lines.len() > 1 {
        chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    }
    Ok(())
}

/// The text at a mark of an axis.
fn whole(value: &f64) -> String {
    format!("{value:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_nothing_and_of_something_are_svg() {
        let some: Distribution = [3, 3, 5].into_iter().collect();
        let mut texts = Vec::new();
        for all in [Distribution::default(), some] {
            let mut text = String::new();
            let canvas = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
            histogram(&canvas, "Title & more", "hops", &all).unwrap();
            coverage(&canvas, &all).unwrap();
            nodes(&canvas, &[]).unwrap();
            canvas.present().unwrap();
            drop(canvas);
            texts.push(text);
        }
        for text in texts {
            assert!(text.starts_with("<svg ") && text.trim_end().ends_with("</svg>"), "{text}");
            assert!(text.contains("Title &amp; more"), "{text}");
        }
    }
}
