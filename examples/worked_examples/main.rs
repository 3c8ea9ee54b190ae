//! The small arrays of a first course on convolutional networks, worked out by the crate step by step: every number can be checked
//! with pencil and paper.
//!
//!     cargo run --release --example worked_examples
//!     cargo run --release --example worked_examples -- --only 3 --device gpu

#[macro_use]
#[path = "../common/mod.rs"]
mod common;
mod grid;
mod teacher;

use anyhow::{Context, bail};
use clap::Parser;
use grid::{Grid, number, show};
use striate::device::Device;
use striate::tensor::{Padding, Window2d};
use teacher::{Step, Teacher};

/// Show how convolution, ReLU, pooling and a gradient come about, on arrays small enough to check by hand.
#[derive(Parser)]
struct Arguments {
    /// `cpu`, `gpu`, or a part of a GPU's name
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Show only this example
    #[arg(long, value_name = "N")]
    only: Option<usize>,
}

type Lesson = (&'static str, fn(&Teacher) -> anyhow::Result<()>);

const LESSONS: [Lesson; 10] = [
    ("A convolution", convolution),
    ("Max pooling and average pooling", pooling),
    ("Two filters, two feature maps", two_filters),
    ("Convolution in one dimension: a moving average", moving_average),
    ("A curve detector", curve_detector),
    ("Is it an X? Convolution, ReLU, pooling", letter_x),
    ("Image kernels: edges, sharpening, blur", image_kernels),
    ("Sizes and numbers of parameters", sizes),
    ("The gradient of a convolution", gradient),
    ("One window, pooled", one_window),
];

fn main() -> anyhow::Result<()> {
    common::start_logging();
    let arguments = Arguments::parse();
    if let Some(n) = arguments.only.filter(|n| !(1..=LESSONS.len()).contains(n)) {
        let list: Vec<_> = LESSONS.iter().enumerate().map(|(i, (title, _))| format!("{:>4}  {title}", i + 1)).collect();
        bail!("there is no example {n}; there are:\n{}", list.join("\n"));
    }
    let teacher = Teacher::new(Device::named(&arguments.device)?);
    println!("Computed on: {}\n", teacher.device());
    for (i, (title, lesson)) in LESSONS.iter().enumerate() {
        if arguments.only.is_none_or(|n| n == i + 1) {
            let title = format!("{}. {title}", i + 1);
            println!("{title}\n{}\n", "=".repeat(title.len()));
            lesson(&teacher).with_context(|| title)?;
        }
    }
    Ok(())
}

/// 2 by 2 windows side by side.
fn halves() -> Window2d {
    Window2d { stride: [2, 2], ..Window2d::new([2, 2]) }
}

/// The windows of a filter, one step apart, on the image as it is.
fn slide(filter: &Grid) -> Window2d {
    Window2d::new([filter.rows(), filter.columns()])
}

fn convolution(t: &Teacher) -> anyhow::Result<()> {
    println!("The filter slides over the input. At each place, multiply what lies on top of");
    println!("each other and add up: one number of the feature map.\n");
    let input = Grid::from([[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]);
    let filter = Grid::from([[0, 1, 2], [2, 2, 0], [0, 1, 2]]);
    let map = t.convolve(&input, &filter, slide(&filter))?;
    show(&[("input", &input), ("filter", &filter), ("feature map", &map)]);
    println!("The window at the top left, row by row, as input * filter:\n");
    grid::spell(&input, &filter, &slide(&filter), [0, 0], &map);
    println!("One step to the right:\n");
    grid::spell(&input, &filter, &slide(&filter), [0, 1], &map);
    println!("A 3 by 3 filter fits into 5 columns at 5 - 3 + 1 = {} places.\n", map.columns());
    Ok(())
}

fn pooling(t: &Teacher) -> anyhow::Result<()> {
    println!("Each 2 by 2 block becomes one number: the largest, or the average. The map");
    println!("shrinks to half, and a small shift of the picture changes little.\n");
    let input = Grid::from([[3, 13, 17, 11], [5, 3, 1, 23], [7, 1, 2, 3], [11, 17, 1, 4]]);
    let (max, average) = (t.max_pool(&input, halves())?, t.average_pool(&input, halves())?);
    show(&[("input", &input), ("max", &max), ("average", &average)]);
    println!("The block at the top left has 3, 13, 5 and 3. The largest is {}, the average", number(max.at(0, 0)));
    println!("(3 + 13 + 5 + 3) / 4 = {}.\n", number(average.at(0, 0)));
    Ok(())
}

fn two_filters(t: &Teacher) -> anyhow::Result<()> {
    println!("Filter 1 looks for a diagonal, filter 2 for an upright line. Each makes its own");
    println!("feature map, large where the image has what the filter looks for.\n");
    let image = Grid::from([
        [1, 0, 0, 0, 0, 1],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 1, 1, 0, 0],
        [1, 0, 0, 0, 1, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 1, 0, 1, 0],
    ]);
    let filters = [Grid::from([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]), Grid::from([[-1, 1, -1], [-1, 1, -1], [-1, 1, -1]])];
    show(&[("image", &image), ("filter 1", &filters[0]), ("filter 2", &filters[1])]);
    for (i, filter) in filters.iter().enumerate() {
        let map = t.convolve(&image, filter, slide(filter))?;
        println!("Filter {}, the window at the top left:\n", i + 1);
        grid::spell(&image, filter, &slide(filter), [0, 0], &map);
        let pooled = t.max_pool(&map, halves())?;
        if i == 0 {
            let by_two = t.convolve(&image, filter, Window2d { stride: [2, 2], ..slide(filter) })?;
            show(&[("feature map 1", &map), ("max of 2 by 2", &pooled), ("filter 1 in steps of 2", &by_two)]);
        } else {
            show(&[("feature map 2", &map), ("max of 2 by 2", &pooled)]);
        }
    }
    Ok(())
}

fn moving_average(t: &Teacher) -> anyhow::Result<()> {
    println!("A filter of three times 1/3 replaces each number by the average of itself and");
    println!("its neighbours. A zero is put before and behind (`same` padding), so the result");
    println!("is as long as the input.\n");
    let input = Grid::from([[10, 50, 60, 10, 20, 30, 40]]);
    let filter = Grid::from([[1, 1, 1]]).divided_by(3.0);
    let window = Window2d { padding: Padding::Same, ..slide(&filter) };
    let result = t.convolve(&input, &filter, window)?;
    show(&[("input", &input), ("filter", &filter)]);
    show(&[("result", &result)]);
    println!("The first window, whose left end lies in the padding, and the second:\n");
    grid::spell(&input, &filter, &window, [0, 0], &result);
    grid::spell(&input, &filter, &window, [0, 1], &result);
    Ok(())
}

fn curve_detector(t: &Teacher) -> anyhow::Result<()> {
    println!("The filter is a small picture of a curve. On a patch of an image with such a");
    println!("curve the products add up to a large number; on another patch they don't.\n");
    let mut filter = Grid::zeros(7, 7);
    for (row, column) in [(0, 5), (1, 4), (2, 3), (3, 3), (4, 3), (5, 3)] {
        filter.set(row, column, 30.0);
    }
    let curve = Grid::from([
        [0, 0, 0, 0, 0, 0, 30],
        [0, 0, 0, 0, 50, 50, 50],
        [0, 0, 0, 20, 50, 0, 0],
        [0, 0, 0, 50, 50, 0, 0],
        [0, 0, 0, 50, 50, 0, 0],
        [0, 0, 0, 50, 50, 0, 0],
        [0, 0, 0, 50, 50, 0, 0],
    ]);
    let other = Grid::from([
        [0, 0, 0, 0, 0, 0, 0],
        [0, 40, 0, 0, 0, 0, 0],
        [40, 0, 40, 0, 0, 0, 0],
        [40, 20, 0, 0, 0, 0, 0],
        [0, 50, 0, 0, 0, 0, 0],
        [0, 0, 50, 0, 0, 0, 0],
        [25, 25, 0, 50, 0, 0, 0],
    ]);
    show(&[("filter", &filter), ("patch with the curve", &curve), ("another patch", &other)]);
    let fit = t.convolve(&curve, &filter, slide(&filter))?;
    let misfit = t.convolve(&other, &filter, slide(&filter))?;
    println!("With the curve, the products that aren't 0:\n  {} = {}\n", grid::products(&curve, &filter), number(fit.at(0, 0)));
    println!("On the other patch all products are 0, and so is their sum: {}\n", number(misfit.at(0, 0)));
    Ok(())
}

fn letter_x(t: &Teacher) -> anyhow::Result<()> {
    println!("An X drawn with 1 on a ground of -1, and three filters, shown times 9, that");
    println!("look for its parts. A 1 in a feature map is a perfect match. (Slides cut the");
    println!("digits off after the second one; here they are rounded.)\n");
    let mut image = Grid::zeros(9, 9);
    for row in 0..9 {
        for column in 0..9 {
            let on_diagonal = row == column || row + column == 8;
            image.set(row, column, if on_diagonal && (1..8).contains(&row) { 1.0 } else { -1.0 });
        }
    }
    let filters = [
        ("1: falling line", Grid::from([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]])),
        ("2: crossing", Grid::from([[1, -1, 1], [-1, 1, -1], [1, -1, 1]])),
        ("3: rising line", Grid::from([[-1, -1, 1], [-1, 1, -1], [1, -1, -1]])),
    ];
    show(&[("image", &image)]);
    show(&filters.iter().map(|(name, filter)| (*name, filter)).collect::<Vec<_>>());
    // Seven columns don't divide by two: in ceil mode the last window is cut short and still counts.
    let pool = Window2d { ceil: true, ..halves() };
    for (i, (name, filter)) in filters.iter().enumerate() {
        let filter = filter.clone().divided_by(9.0);
        let map = t.convolve(&image, &filter, slide(&filter))?;
        let positive = t.relu(&map)?;
        let pooled = t.max_pool(&positive, pool)?;
        println!("Filter {name}\n");
        show(&[("feature map", &map)]);
        if i == 0 {
            println!("One window, at row 2, column 2, each product times 9: all nine agree.\n");
            let whole = filters[0].1.clone();
            let sum = t.convolve(&image, &whole, slide(&whole))?;
            grid::spell(&image, &whole, &slide(&whole), [1, 1], &sum);
            println!("9 / 9 = {}. ReLU now turns what is negative into 0, and pooling keeps the", number(map.at(1, 1)));
            println!("largest of each 2 by 2 block. At the right and the bottom a block is cut short.\n");
        }
        show(&[("ReLU", &positive)]);
        show(&[("max of 2 by 2", &pooled)]);
    }
    Ok(())
}

fn image_kernels(t: &Teacher) -> anyhow::Result<()> {
    println!("Filters that people designed before networks learned theirs. The numbers of the");
    println!("edge detector add up to 0: it answers only where the image changes. Those of the");
    println!("sharpener add up to 1: it leaves flat regions alone.\n");
    let all_but = |centre: i32| Grid::from([[-1, -1, -1], [-1, centre, -1], [-1, -1, -1]]);
    let (edge, sharpen) = (all_but(8), all_but(9));
    let mut flat = Grid::zeros(7, 7);
    let mut square = Grid::zeros(7, 7);
    for row in 0..7 {
        for column in 0..7 {
            flat.set(row, column, 50.0);
            let inside = (2..5).contains(&row) && (2..5).contains(&column);
            square.set(row, column, if inside { 50.0 } else { 10.0 });
        }
    }
    show(&[("edge detector", &edge), ("sharpen", &sharpen)]);
    for (name, image) in [("flat image", &flat), ("square", &square)] {
        let (edges, sharp) = (t.convolve(image, &edge, slide(&edge))?, t.convolve(image, &sharpen, slide(&sharpen))?);
        show(&[(name, image), ("edges", &edges), ("sharpened", &sharp)]);
    }
    println!("In the middle of the square, 8 * 50 - 8 * 50 = 0: there is no edge.\n");
    let weights = [[1, 2, 3, 2, 1], [2, 4, 5, 4, 2], [3, 5, 6, 5, 3], [2, 4, 5, 4, 2], [1, 2, 3, 2, 1]];
    let sum: i32 = weights.iter().flatten().sum();
    let gauss = Grid::from(weights);
    println!("A Gaussian blur averages, and counts what is near more. Its weights add up to");
    println!("{sum}, so divided by {sum} it leaves a flat image as it is. Some slides divide by 65,");
    println!("which makes everything {sum} / 65 times as bright.\n");
    let blurred = |image: &Grid, divisor: f32| {
        let filter = gauss.clone().divided_by(divisor);
        t.convolve(image, &filter, slide(&filter))
    };
    let (by_sum, by_65) = (blurred(&flat, sum as f32)?, blurred(&flat, 65.0)?);
    show(&[("weights", &gauss), (&format!("flat image / {sum}"), &by_sum), ("flat image / 65", &by_65)]);
    let soft = blurred(&square, sum as f32)?;
    show(&[("square", &square), (&format!("blurred / {sum}"), &soft)]);
    Ok(())
}

fn sizes(_: &Teacher) -> anyhow::Result<()> {
    println!("output = (input + padding - filter) / step + 1, rounded down.\n");
    println!("{:>8} {:>8} {:>9} {:>6} {:>8}", "input", "filter", "padding", "step", "output");
    let cases = [
        (5, 3, Padding::Valid),
        (28, 3, Padding::Valid),
        (32, 5, Padding::Valid),
        (32, 5, Padding::all(2)),
        (32, 5, Padding::Same),
    ];
    for (input, filter, padding) in cases {
        let placed = Window2d { padding, ..Window2d::new([filter, filter]) }.place(input, input)?;
        let padding = if padding == Padding::Same { "same".to_string() } else { placed.pad_top.to_string() };
        println!("{input:>8} {filter:>8} {padding:>9} {:>6} {:>8}", 1, placed.h_out);
    }
    let filter = 5 * 5 * 3 + 1;
    let node = 32 * 32 * 3 + 1;
    let layer = 100 * 200 * 200 * 3;
    println!("\nA 5 by 5 filter on 3 colours has 5 * 5 * 3 weights and a bias: {filter} parameters,");
    println!("whatever the size of the image. A fully connected node on 32 by 32 pixels has");
    println!("32 * 32 * 3 and a bias, {node}; 100 nodes on 200 by 200 pixels have 12 million");
    println!("weights: 100 * 200 * 200 * 3 = {layer}.\n");
    Ok(())
}

fn gradient(t: &Teacher) -> anyhow::Result<()> {
    println!("Training asks: how does the error E change with each number of the filter W?");
    println!("Here H = X * W (a convolution) should become T, and E = 1/2 sum of (H - T)^2.\n");
    let x = Grid::from([[1, 0, 2], [3, 1, 0], [0, 2, 1]]);
    let w = Grid::from([[1, 0], [0, 1]]);
    let target = Grid::from([[1, 1], [3, 2]]);
    const RATE: f32 = 0.05;
    let Step { h, dh, dw, w_new, error } = t.step(&x, &w, &target, RATE)?;
    show(&[("X", &x), ("W", &w), ("H", &h), ("T", &target)]);
    println!(
        "Error E = {}. Its derivatives, dE/dH = H - T, and by the chain rule\ndE/dW[a, b] = sum of dE/dH[i, j] * X[i + a, j + b]:\n",
        number(error)
    );
    show(&[("dE/dH", &dh), ("dE/dW", &dw)]);
    println!("That is again a convolution: dE/dH slides over X. dE/dW[0, 0], as X * dE/dH:\n");
    grid::spell(&x, &dh, &slide(&dh), [0, 0], &dw);
    println!("A step against the gradient, W - {RATE} * dE/dW, makes the error smaller:\n");
    let after = t.step(&x, &w_new, &target, RATE)?;
    show(&[("new W", &w_new), ("new H", &after.h), ("T", &target)]);
    println!("Error E = {}\n", number(after.error));
    Ok(())
}

fn one_window(t: &Teacher) -> anyhow::Result<()> {
    println!("What pooling makes of a single window:\n");
    let window = Grid::from([[1, 2], [3, 4]]);
    let (max, average) = (t.max_pool(&window, halves())?, t.average_pool(&window, halves())?);
    show(&[("window", &window), ("max", &max), ("average", &average)]);
    Ok(())
}
