//! Do pictures show what they say? What they need of a model against PyTorch, hand and central differences; then each picture's size, text and errors.
//! Every picture is written to `target/tmp/vis`, to be looked at.
#![cfg(feature = "vis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

use image::RgbImage;
use std::path::PathBuf;
use std::sync::Arc;
use striate::cpu::Runtime;
use striate::data::{self, Dataset};
use striate::graph::{Graph, Plan};
use striate::nn::{BatchNorm, Conv2d, Mode, Model, Net, Sequential};
use striate::op::{Buf, Value};
use striate::tensor::{Tensor, TensorType};
use striate::train::{ConfusionMatrix, Epoch, Fit, History, Progress};
use striate::vis::{self, Explain, Maximise, Photo, Sheet};
use striate::{Device, Error, Seed, zoo};

/// Numbers that look random, from -0.5 to 0.5 times `factor`; the same formula is in the PyTorch program below.
fn fill(shape: impl Into<Vec<usize>>, seed: usize, factor: f64) -> Tensor {
    let shape = shape.into();
    let value = |i: usize| (((i * 7919 + seed * 104_729) % 1009) as f64 / 1009.0 - 0.5) * factor;
    let n = shape.iter().product();
    Tensor::f32(shape, (0..n).map(|i| value(i) as f32).collect()).unwrap()
}

/// Keeps a picture to be looked at.
fn keep(name: &str, picture: &RgbImage) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("vis");
    std::fs::create_dir_all(&folder).unwrap();
    vis::save(picture, folder.join(format!("{name}.png"))).unwrap();
}

fn keep_text(name: &str, text: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("vis");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), text).unwrap();
}

/// Whether there is something dark on white in this part of a picture: text.
fn has_text(picture: &RgbImage, [x, y, w, h]: [u32; 4]) -> bool {
    let dark = (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))).filter(|&(x, y)| picture.get_pixel(x, y).0[0] < 100);
    dark.count() > 20
}

const HEADING: [u32; 4] = [15, 15, 200, 30];

/// The network that PyTorch ran:
///
/// ```python
/// def fill(shape, seed, factor):
///     n = math.prod(shape)
///     v = [(((i * 7919 + seed * 104729) % 1009) / 1009.0 - 0.5) * factor for i in range(n)]
///     return torch.tensor(v, dtype=torch.float64).reshape(shape)
/// w1 = fill((3, 3, 3, 4), 1, 1.0).permute(3, 2, 0, 1); b1 = fill((4,), 2, 0.5)
/// w2 = fill((3, 3, 4, 5), 3, 1.0).permute(3, 2, 0, 1); b2 = fill((5,), 4, 0.5)
/// wd = fill((5, 3), 5, 2.0); bd = fill((3,), 6, 0.5)
/// x = fill((1, 8, 8, 3), 7, 2.0).permute(0, 3, 1, 2).clone().requires_grad_(True)
/// a1 = torch.relu(F.conv2d(x, w1, b1, padding=1))
/// a2 = torch.relu(F.conv2d(a1, w2, b2, stride=2)); a2.retain_grad()
/// logits = a2.mean(dim=(2, 3)) @ wd + bd
/// p = torch.softmax(logits, 1); c = int(p.argmax()); logits[0, c].backward()
/// alpha = a2.grad.mean(dim=(2, 3))
/// cam = torch.relu((alpha[:, :, None, None] * a2).sum(1))[0]
/// saliency = x.grad.abs().max(dim=1)[0][0]
/// ```
fn torch_net(device: &Device, softmax: bool) -> Model {
    let net = Net::input([8, 8, 3]).layer(Conv2d::new(4, 3).same()).named("a").relu();
    let net = net.layer(Conv2d::new(5, 3).stride(2)).named("b").relu().named("last").global_avg_pool2d().dense(3).named("d");
    let net = if softmax { net.softmax() } else { net };
    let mut model = net.build(device, Seed(0)).unwrap();
    let weights = [
        ("a/weight", fill([3, 3, 3, 4], 1, 1.0)),
        ("a/bias", fill([4], 2, 0.5)),
        ("b/weight", fill([3, 3, 4, 5], 3, 1.0)),
        ("b/bias", fill([5], 4, 0.5)),
        ("d/weight", fill([5, 3], 5, 2.0)),
        ("d/bias", fill([3], 6, 0.5)),
    ];
    model.set_weights(&weights.map(|(name, values)| (name.to_string(), values))).unwrap();
    model
}

fn devices() -> Vec<Device> {
    let gpu = match Device::named("gpu") {
        Ok(device) => Some(device),
        Err(Error::NoDevice { .. }) if std::env::var("STRIATE_ALLOW_NO_GPU").is_ok_and(|v| v == "1") => None,
        Err(e) => panic!("needs a GPU, even a software one (STRIATE_ALLOW_NO_GPU=1 leaves it out): {e}"),
    };
    std::iter::once(Device::cpu()).chain(gpu).collect()
}

fn close(got: &Tensor, want: &[f64], within: f64) {
    let got = got.as_f32().unwrap();
    assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*got) - want).abs() <= within, "element {i}: got {got}, want {want}");
    }
}

#[test]
fn attributions_are_those_of_pytorch() {
    let cam = [
        0.0,
        0.058_038_499_467_003_02,
        0.009_676_981_235_731_807,
        0.0,
        0.010_457_663_777_865_465,
        0.070_584_036_483_502_37,
        0.054_280_517_881_908_34,
        0.0,
        0.066_596_882_061_058_88,
    ];
    let top = [0.047522088, 0.02882293, 0.007958788, 0.039995043, 0.046276427, 0.06829464, 0.011387967, 0.023036303];
    let bottom = [0.004373397, 0.011477012, 0.020492752, 0.013214128, 0.008687566, 0.020737323, 0.021599262, 0.027123993];
    for device in devices() {
        for softmax in [false, true] {
            let mut model = torch_net(&device, softmax);
            // The score is the one before softmax, whether the network ends in it or not.
            assert_eq!(model.logits_layer(), "d");
            let photo = Photo::of_input(&fill([1, 8, 8, 3], 7, 2.0)).unwrap();
            let found = vis::grad_cam_map(&mut model, &photo, &Explain::new()).unwrap();
            assert_eq!((found.class, found.layer.as_deref()), (2, Some("last")));
            assert!((found.probability - 0.423_890_18).abs() < 1e-5, "{}", found.probability);
            assert_eq!(found.values.shape().dims(), [3, 3]);
            close(&found.values, &cam, 1e-6);
            let found = vis::saliency_map(&mut model, &photo, &Explain::new()).unwrap();
            assert_eq!(found.values.shape().dims(), [8, 8]);
            let rows = found.values.as_f32().unwrap();
            close(&Tensor::f32([8], rows[..8].to_vec()).unwrap(), &top, 1e-6);
            close(&Tensor::f32([8], rows[56..].to_vec()).unwrap(), &bottom, 1e-6);
        }
    }
}

#[test]
fn grad_cam_by_hand() {
    // Two filters of one tap, 1 and -2; the score of class 0 is mean(x) - mean(-2 x): both channels' gradients are 1/4 and -1/4 at each
    // place, so the map is x/4 + 2x/4 where that is above 0, and each pixel's slope is 3/4.
    let mut model = Sequential::new([2, 2, 1]).conv2d(2, 1).global_avg_pool2d().dense(2).build(&Device::cpu(), Seed(0)).unwrap();
    let weights = [
        ("conv2d/weight", Tensor::f32([1, 1, 1, 2], vec![1.0, -2.0])),
        ("conv2d/bias", Tensor::f32([2], vec![0.0; 2])),
        ("dense/weight", Tensor::f32([2, 2], vec![1.0, 0.0, -1.0, 3.0])),
        ("dense/bias", Tensor::f32([2], vec![0.0; 2])),
    ];
    model.set_weights(&weights.map(|(name, values)| (name.to_string(), values.unwrap()))).unwrap();
    let photo = Photo::of_input(&Tensor::f32([2, 2, 1], vec![1.0, 2.0, -3.0, 4.0]).unwrap()).unwrap();
    let found = vis::grad_cam_map(&mut model, &photo, &Explain::new().class(0)).unwrap();
    close(&found.values, &[0.75, 1.5, 0.0, 3.0], 1e-6);
    close(&vis::saliency_map(&mut model, &photo, &Explain::new().class(0)).unwrap().values, &[0.75; 4], 1e-6);
    // The mean gradient of copies with noise is that of a linear network too.
    let smooth = Explain::new().class(0).smooth(3, 0.2, Seed(1));
    close(&vis::saliency_map(&mut model, &photo, &smooth).unwrap().values, &[0.75; 4], 1e-6);
}

/// A network with what inference treats otherwise than training: batch norm, dropout; and a branch.
fn branching() -> Net {
    let x = Net::input([6, 6, 2]);
    let y = x.layer(Conv2d::new(3, 3).same()).named("first").layer(BatchNorm::new()).named("norm").gelu();
    let z = y.layer(Conv2d::new(3, 3).same()).named("second").tanh();
    z.add(&y).named("sum").dropout(0.5).avg_pool2d(2).flatten().named("flat").dense(4).named("scores")
}

#[test]
fn gradients_are_slopes() {
    let image = fill([1, 6, 6, 2], 1, 2.0);
    let weights = fill([1, 4], 2, 1.0);
    // In f64: the same network with its parameters as inputs of a graph.
    let net = branching();
    let mut graph = Graph::new();
    let x = graph.input("x", TensorType::f32([1, 6, 6, 2])).unwrap();
    let (y, parameters) = net.add_to(&mut graph, Mode::Inference, &[x], None).unwrap();
    let mut model = net.build(&Device::cpu(), Seed(3)).unwrap();
    let values: Vec<(String, Tensor)> = model
        .weights()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(i, (name, w))| {
            let drawn = fill(w.shape().dims(), i + 10, 1.0);
            // A variance is above 0.
            let raised = drawn.as_f32().unwrap().iter().map(|v| v + if name.contains("variance") { 1.0 } else { 0.0 });
            (name.clone(), Tensor::f32(w.shape().clone(), raised.collect()).unwrap())
        })
        .collect();
    model.set_weights(&values).unwrap();
    let plan = Plan::new(graph, &[y], None).unwrap();
    let mut runtime = Runtime::<f64>::new();
    let mut program = runtime.load(Arc::new(plan));
    let named = |name: &str| &values.iter().find(|(n, _)| n == name).unwrap().1;
    let mut feeds: Vec<(Value, Buf<f64>)> =
        parameters.iter().map(|(name, value)| (*value, Buf::from_tensor(named(name)))).collect();
    feeds.push((x, Buf::from_tensor(&image)));
    let mut sum = |at: usize, by: f64| {
        let mut feeds = feeds.clone();
        if let Some((_, Buf::Real(pixels))) = feeds.last_mut() {
            pixels[at] += by;
        }
        runtime.run(&mut program, feeds, None).unwrap();
        let scores = runtime.fetch(&program, y).real().to_vec();
        scores.iter().zip(weights.as_f32().unwrap()).map(|(s, w)| s * f64::from(*w)).sum::<f64>()
    };
    let mut slope = |at: usize| {
        let h = 1e-4;
        (8.0 * (sum(at, h) - sum(at, -h)) - (sum(at, 2.0 * h) - sum(at, -2.0 * h))) / (12.0 * h)
    };
    let slopes: Vec<f64> = (0..72).map(&mut slope).collect();

    for device in devices() {
        let mut model = net.build(&device, Seed(3)).unwrap();
        model.set_weights(&values).unwrap();
        let found = model.gradients(&image, "scores", &weights, &["input", "flat", "scores", "sum", "first"]).unwrap();
        let largest = slopes.iter().fold(0.0f64, |m, s| m.max(s.abs()));
        close(&found.by[0].gradient, &slopes, 1e-5 * largest);
        assert_eq!(found.by[0].output, image);
        // By what the dense layer reads: its weights' rows times those of the sum.
        let w = named("scores/weight").as_f32().unwrap();
        let dot = |row: &[f32]| row.iter().zip(weights.as_f32().unwrap()).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        close(&found.by[1].gradient, &w.chunks(4).map(dot).collect::<Vec<_>>(), 1e-6);
        close(&found.by[2].gradient, &weights.as_f32().unwrap().iter().map(|&v| f64::from(v)).collect::<Vec<_>>(), 0.0);
        assert_eq!(found.by[2].output, found.output);
        // Average pooling of 2 x 2 leaves a quarter of the slope at each place; channels last.
        let flat = found.by[1].gradient.as_f32().unwrap();
        let spread: Vec<f64> = (0..108)
            .map(|i| {
                let (y, x, c) = (i / 18, i / 3 % 6, i % 3);
                f64::from(flat[(y / 2 * 3 + x / 2) * 3 + c]) / 4.0
            })
            .collect();
        close(&found.by[3].gradient, &spread, 1e-7);
        // Each image has its own gradients.
        let two = Tensor::f32([2, 6, 6, 2], [image.as_f32().unwrap(), fill([72], 9, 1.0).as_f32().unwrap()].concat()).unwrap();
        let weights_of_two = Tensor::f32([2, 4], [weights.as_f32().unwrap(), &[0.0; 4]].concat()).unwrap();
        let both = model.gradients(&two, "scores", &weights_of_two, &["input"]).unwrap();
        let both = both.by[0].gradient.as_f32().unwrap();
        close(&Tensor::f32([72], both[..72].to_vec()).unwrap(), &slopes, 1e-5 * largest);
        assert!(both[72..].iter().all(|g| *g == 0.0));
        // What a layer doesn't depend on doesn't change it.
        let none = model.gradients(&image, "first", &fill([1, 6, 6, 3], 1, 1.0), &["sum", "input"]).unwrap();
        assert!(none.by[0].gradient.as_f32().unwrap().iter().all(|g| *g == 0.0));
        assert!(none.by[1].gradient.as_f32().unwrap().iter().any(|g| *g != 0.0));
    }
    let error = |r: striate::Result<striate::nn::Gradients>| r.unwrap_err().to_string();
    assert!(error(model.gradients(&image, "none", &weights, &["input"])).contains("layer: got 'none', want one of input, first"));
    assert!(error(model.gradients(&image, "scores", &weights, &["none"])).contains("got 'none'"));
    assert!(error(model.gradients(&image, "scores", &fill([1, 5], 1, 1.0), &["input"])).contains("scores: weights"));
    assert!(error(model.gradients(&fill([6, 6, 2], 1, 1.0), "scores", &weights, &["input"])).contains("a batch of 1"));
}

#[test]
fn outputs_of_all_layers() {
    for device in devices() {
        let mut model = branching().build(&device, Seed(3)).unwrap();
        let images = fill([3, 6, 6, 2], 1, 2.0);
        let outputs = model.layer_outputs(&images).unwrap();
        let summary = model.summary();
        assert_eq!(outputs.len(), summary.layers.len());
        for ((name, output), layer) in outputs.iter().zip(&summary.layers) {
            assert_eq!((name, output.shape()), (&layer.name, &layer.output.with_batch(3)));
        }
        let of = |name: &str| outputs.iter().find(|(n, _)| n == name).unwrap().1.as_f32().unwrap().to_vec();
        let (sum, gelu, tanh) = (of("sum"), of("gelu"), of("tanh"));
        assert!(sum.iter().zip(gelu.iter().zip(&tanh)).all(|(s, (a, b))| (s - (a + b)).abs() < 1e-6));
        assert_eq!(of("dropout"), sum);
        let predicted = model.predict(&images).unwrap();
        close(&predicted, &of("scores").iter().map(|&v| f64::from(v)).collect::<Vec<_>>(), 1e-5);
    }
    // A network whose first layer gives what it reads.
    let mut model = Sequential::new([4]).dropout(0.5).dense(2).build(&Device::cpu(), Seed(1)).unwrap();
    let x = fill([1, 4], 1, 1.0);
    assert_eq!(model.layer_outputs(&x).unwrap()[0].1, x);
}

fn digits() -> (Dataset, Dataset) {
    data::mnist(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/mnist")).unwrap()
}

/// A small network that has seen some digits.
fn trained() -> (Model, Dataset, History) {
    let (train, test) = digits();
    let net = Sequential::new([28, 28, 1]).conv2d(8, 5).relu().max_pool2d(2).conv2d(16, 3).relu().max_pool2d(2).flatten();
    let mut model = net.dense(10).build(&Device::cpu(), Seed(7)).unwrap();
    let (train, test) = (train.take(1500).unwrap(), test.take(300).unwrap());
    let fit = Fit::epochs(2).batch(32).progress(Progress::Silent).validate(&test);
    let history = model.fit(&train, fit).unwrap();
    (model, test, history)
}

#[test]
fn pictures_of_a_trained_model() {
    let (mut model, test, history) = trained();
    let names: Vec<String> = (0..10).map(|d| format!("digit {d}")).collect();
    let test = test.named_classes(names.clone()).unwrap();
    let photo = Photo::of(&test, 0).unwrap();
    assert_eq!((photo.image().dimensions(), photo.input().shape().dims()), ((28, 28), &[1, 28, 28, 1][..]));
    let explain = Explain::new().names(&names);
    let confusion = ConfusionMatrix::of(
        10,
        model
            .predict_dataset(&test)
            .unwrap()
            .as_f32()
            .unwrap()
            .chunks(10)
            .map(|row| row.iter().enumerate().fold(0, |best, (i, v)| if *v > row[best] { i } else { best }) as u32)
            .zip(test.labels())
            .map(|(said, &label)| (label, said)),
    )
    .unwrap();
    type Draw<'a> = Box<dyn FnMut(&mut Model) -> striate::Result<RgbImage> + 'a>;
    let all: Vec<(&str, Draw<'_>)> = vec![
        ("digits_filters", Box::new(|m| vis::filters(m, None))),
        ("digits_filters_2", Box::new(|m| vis::filters(m, Some("conv2d_1")))),
        ("digits_activations", Box::new(|m| vis::activations(m, &photo, None))),
        ("digits_activations_conv2d", Box::new(|m| vis::activations(m, &photo, Some("conv2d")))),
        ("digits_activations_dense", Box::new(|m| vis::activations(m, &photo, Some("dense")))),
        ("digits_saliency", Box::new(|m| vis::saliency(m, &photo, &explain))),
        ("digits_saliency_smooth", Box::new(|m| vis::saliency(m, &photo, &explain.clone().smooth(8, 0.15, Seed(1))))),
        ("digits_grad_cam", Box::new(|m| vis::grad_cam(m, &photo, &explain))),
        ("digits_grad_cam_3", Box::new(|m| vis::grad_cam(m, &photo, &explain.clone().class(3).layer("relu")))),
        ("digits_maximise", Box::new(|m| vis::maximise_filter(m, &Maximise::new("conv2d_1", 0..16)))),
        ("digits_maximise_class", Box::new(|m| vis::maximise_filter(m, &Maximise::new("dense", 0..10)))),
        ("digits_confusion", Box::new(|_| vis::confusion(&confusion, &names))),
        ("digits_mistakes", Box::new(|m| vis::worst_mistakes(m, &test, 20))),
        ("digits_curves", Box::new(|_| vis::curves(&history))),
    ];
    for (name, mut draw) in all {
        let picture = draw(&mut model).unwrap();
        keep(name, &picture);
        assert!(has_text(&picture, HEADING), "{name} has no heading");
        assert!(picture.width() >= 200 && picture.width() < 2000, "{name}: {}", picture.width());
        assert!(draw(&mut model).unwrap() == picture, "{name} differs when it is drawn again");
    }
    keep_text("digits.svg", &vis::diagram(&model).unwrap());
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let device = Device::cpu();
    let error = |r: striate::Result<RgbImage>| r.unwrap_err().to_string();
    // One layer, no convolution.
    let mut dense = Sequential::new([8, 8, 1]).flatten().dense(3).build(&device, Seed(1)).unwrap();
    let photo = Photo::new(&Tensor::u8([8, 8, 1], vec![7; 64]).unwrap(), &[1.0 / 255.0], &[0.0]).unwrap();
    assert!(error(vis::filters(&mut dense, None)).contains("convolution: got none"));
    assert!(error(vis::grad_cam(&mut dense, &photo, &Explain::new())).contains("none whose output is an image"));
    vis::saliency(&mut dense, &photo, &Explain::new()).unwrap();
    keep("dense_activations", &vis::activations(&mut dense, &photo, None).unwrap());

    let mut model = torch_net(&device, false);
    assert!(error(vis::filters(&mut model, Some("c"))).contains("got 'c', want one of a, b"));
    assert!(error(vis::activations(&mut model, &photo, None)).contains("[n, 8, 8, 3]"));
    let photo = Photo::of_input(&fill([8, 8, 3], 7, 2.0)).unwrap();
    assert!(error(vis::grad_cam(&mut model, &photo, &Explain::new().class(3))).contains("class: got 3, want below 3"));
    assert!(error(vis::grad_cam(&mut model, &photo, &Explain::new().layer("d"))).contains("d: output"));
    assert!(error(vis::grad_cam(&mut model, &photo, &Explain::new().layer("e"))).contains("got 'e'"));
    assert!(error(vis::saliency(&mut model, &photo, &Explain::new().smooth(0, 0.1, Seed(0)))).contains("SmoothGrad"));
    assert!(error(vis::activations(&mut model, &photo, Some("e"))).contains("got 'e'"));
    assert!(error(vis::maximise_filter(&mut model, &Maximise::new("a", [4]))).contains("a: channel: got 4, want below 4"));
    assert!(error(vis::maximise_filter(&mut model, &Maximise::new("z", [0]))).contains("got 'z'"));
    assert!(error(vis::maximise_filter(&mut model, &Maximise::new("a", []))).contains("channels: got none"));
    assert!(error(vis::maximise_filter(&mut model, &Maximise::new("a", [0]).rate(f32::NAN))).contains("rate"));
    assert!(error(vis::maximise_filter(&mut model, &Maximise::new("a", [0]).normalized(&[1.0; 2], &[0.0]))).contains("scale"));

    for (pixels, scale) in
        [(Tensor::u8([8, 8, 2], vec![0; 128]), 1), (Tensor::u8([8, 8], vec![0; 64]), 1), (Tensor::u8([8, 8, 3], vec![0; 192]), 2)]
    {
        assert!(Photo::new(&pixels.unwrap(), &vec![1.0; scale], &[0.0]).is_err());
    }
    assert!(Photo::of_input(&Tensor::f32([1, 1, 1], vec![f32::NAN]).unwrap()).is_err());
    let (_, test) = digits();
    assert!(Photo::of(&test, test.len()).is_err());
    assert!(error(vis::worst_mistakes(&mut model, &test, 5)).contains("data set"));
    assert!(error(vis::curves(&History::default())).contains("history"));
    assert!(error(vis::sheet("none", &[])).contains("at least one"));
    assert!(error(Sheet::new("x").tile("y", RgbImage::new(4, 4)).columns(0).draw()).contains("at least 1"));
    let matrix = ConfusionMatrix::of(2, [(0, 1)]).unwrap();
    assert!(error(vis::confusion(&matrix, &["one".to_string()])).contains("got 1, want 2, or none"));
    assert!(ConfusionMatrix::of(2, [(0, 2)]).is_err());
    let missing = vis::save(&RgbImage::new(2, 2), "no/such/folder/x.png").unwrap_err();
    assert!(matches!(missing, Error::File { .. }));
}

#[test]
fn confusion_reads_at_any_number_of_classes() {
    // One class: nothing can be wrong.
    let one = vis::confusion(&ConfusionMatrix::of(1, [(0, 0), (0, 0)]).unwrap(), &["only".to_string()]).unwrap();
    keep("confusion_1", &one);
    assert!(has_text(&one, HEADING));
    for classes in [2u32, 3, 10, 12, 13, 30, 40, 100, 250] {
        let pairs = (0..classes * 400).map(|i| {
            let (class, r) = (i % classes, i.wrapping_mul(2_654_435_761) >> 16);
            let off = if r % 100 < 70 {
                0
            } else if r % 3 == 0 {
                1
            } else {
                r
            };
            // The last class never occurs, from three on.
            let class = if classes > 2 && class == classes - 1 { 0 } else { class };
            (class, (class + off) % classes)
        });
        let names: Vec<String> = (0..classes)
            .map(|c| match c % 4 {
                0 => "cat".to_string(),
                1 => format!("German short-haired pointer of kind {c}, with a very long name indeed"),
                2 => format!("n0{c}"),
                _ => format!("Käfer {c}"),
            })
            .collect();
        let matrix = ConfusionMatrix::of(classes as usize, pairs).unwrap();
        let picture = vis::confusion(&matrix, &names).unwrap();
        keep(&format!("confusion_{classes}"), &picture);
        assert!(has_text(&picture, HEADING) && picture.width() < 2200, "{classes}: {}", picture.width());
        assert_eq!(picture, vis::confusion(&matrix, &names).unwrap());
    }
    vis::confusion(&ConfusionMatrix::of(0, []).unwrap(), &[]).unwrap();
}

fn epochs(n: usize, val: bool, accuracy: bool) -> History {
    let epoch = |i: usize| {
        let t = i as f64;
        let wave = 0.05 * ((i * 7919 % 101) as f64 / 101.0 - 0.5);
        Epoch {
            loss: 2.3 * (-t / 9.0).exp() + 0.02,
            accuracy: if accuracy { 1.0 - 0.9 * (-t / 7.0).exp() } else { f64::NAN },
            val_loss: val.then_some(2.2 * (-t / 8.0).exp() + 0.25 + 0.008 * t + wave),
            val_accuracy: (val && accuracy).then_some(0.93 - 0.8 * (-t / 6.0).exp() - 0.001 * t + wave / 4.0),
            step: i as u64 + 1,
            learning_rate: 0.001,
            seconds: 1.0,
            images_per_second: 1.0,
        }
    };
    History { epochs: (0..n).map(epoch).collect(), ..History::default() }
}

#[test]
fn curves_of_few_and_many_epochs() {
    for (name, history) in [
        ("1", epochs(1, true, true)),
        ("2", epochs(2, true, true)),
        ("20", epochs(20, true, true)),
        ("20_no_validation", epochs(20, false, true)),
        ("20_no_accuracy", epochs(20, true, false)),
        ("300", epochs(300, true, true)),
    ] {
        let picture = vis::curves(&history).unwrap();
        keep(&format!("curves_{name}"), &picture);
        assert_eq!(picture.width() > 1000, !name.contains("no_accuracy"));
        assert!(has_text(&picture, HEADING));
        assert_eq!(picture, vis::curves(&history).unwrap());
    }
    let mut history = epochs(4, true, true);
    history.epochs[1].loss = f64::NAN;
    history.epochs[2].val_loss = Some(f64::INFINITY);
    keep("curves_nan", &vis::curves(&history).unwrap());
    history.epochs.iter_mut().for_each(|e| (e.loss, e.val_loss, e.accuracy) = (0.0, None, 0.0));
    keep("curves_flat", &vis::curves(&history).unwrap());
}

/// Left, top, width and height of the boxes of a diagram.
fn boxes(svg: &str) -> Vec<[f64; 4]> {
    let number = |line: &str, name: &str| {
        let from = line.find(&format!(" {name}=\"")).unwrap() + name.len() + 3;
        line[from..].split('"').next().unwrap().parse::<f64>().unwrap()
    };
    let lines = svg.lines().filter(|line| line.starts_with("<g><title>"));
    lines.map(|line| ["x", "y", "width", "height"].map(|name| number(&line[line.find("<rect").unwrap()..], name))).collect()
}

#[test]
fn diagrams_have_each_layer_and_no_overlap() {
    let device = Device::cpu();
    for (name, net) in [
        ("lenet", Net::input([28, 28, 1]).conv2d(6, 5).tanh().avg_pool2d(2).flatten().dense(10)),
        ("resnet18", zoo::resnet18([64, 64, 3], 10)),
        ("branching", branching()),
    ] {
        let model = net.build(&device, Seed(1)).unwrap();
        let svg = vis::diagram(&model).unwrap();
        keep_text(&format!("{name}.svg"), &svg);
        let found = boxes(&svg);
        assert_eq!(found.len(), model.summary().layers.len() + 1, "{name}");
        for (i, a) in found.iter().enumerate() {
            for b in &found[..i] {
                let apart = |axis: usize| a[axis] >= b[axis] + b[axis + 2] || b[axis] >= a[axis] + a[axis + 2];
                assert!(apart(0) || apart(1), "{name}: {a:?} over {b:?}");
            }
        }
        assert!(svg.trim_end().ends_with("</svg>") && svg.matches("<g>").count() + 1 == svg.matches("</g>").count());
        let dot = vis::diagram_dot(&model);
        assert_eq!(dot.matches("[label=").count(), found.len());
        let arrows = svg.matches("marker-end").count();
        assert_eq!(dot.matches(" -> ").count(), arrows, "{name}");
    }
    let odd = Net::input([4]).dense(2).named("a<b>&\"c\"").build(&device, Seed(1)).unwrap();
    let svg = vis::diagram(&odd).unwrap();
    assert!(svg.contains("a&lt;b&gt;&amp;&quot;c&quot;") && vis::diagram_dot(&odd).contains("a<b>&\\\"c\\\""));
}

#[test]
fn sheets_hold_any_pictures() {
    let grey = |w, h, v| RgbImage::from_pixel(w, h, image::Rgb([v; 3]));
    let mut sheet = Sheet::new("A sheet of pictures").note("Small ones are enlarged, large ones made smaller.");
    for (i, (w, h)) in [(1, 1), (28, 28), (32, 16), (300, 200), (90, 400), (2000, 1000), (64, 64)].into_iter().enumerate() {
        sheet =
            sheet.tile(format!("{w} x {h}\nnumber {i}, with a title that needs a second line"), grey(w, h, 60 + 20 * i as u8));
    }
    let picture = sheet.draw().unwrap();
    keep("sheet", &picture);
    assert!(has_text(&picture, HEADING));
    let tiles: Vec<(String, RgbImage)> = (0..30u8).map(|i| (i.to_string(), grey(28, 28, 8 * i))).collect();
    let picture = vis::sheet("Thirty", &tiles).unwrap();
    keep("sheet_30", &picture);
    assert!(picture.width() > picture.height());
    // The first tile's picture is there, pixel for pixel.
    let bare = Sheet::default().tile("", grey(4, 4, 77)).side(4).draw().unwrap();
    assert_eq!(bare.pixels().filter(|p| p.0 == [77; 3]).count(), 16);
}
