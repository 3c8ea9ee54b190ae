//! The worked examples of a first course on convolutional networks: numbers that anyone can check by hand, on the CPU and on a GPU.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use striate::device::Device;
use striate::graph::Graph;
use striate::op::Op;
use striate::ops::avg_pool2d::AvgPool2d;
use striate::ops::binary::{Binary, Mul};
use striate::ops::conv2d::{Conv2d, Conv2dGradWeight};
use striate::ops::max_pool2d::MaxPool2d;
use striate::ops::reduce::{Reduce, Reduction};
use striate::ops::scale::Scale;
use striate::ops::unary::{Relu, Unary};
use striate::ops::update::{HYPER, Sgd, Update};
use striate::tensor::{Padding, TensorType, Window2d};
use striate::{Runtime, Tensor};

type Rows<'a> = &'a [&'a [f32]];

fn flat(rows: Rows<'_>) -> Vec<f32> {
    rows.concat()
}

fn image(rows: Rows<'_>) -> Tensor {
    Tensor::f32([1, rows.len(), rows[0].len(), 1], flat(rows)).unwrap()
}

fn filter(rows: Rows<'_>) -> Tensor {
    Tensor::f32([rows.len(), rows[0].len(), 1, 1], flat(rows)).unwrap()
}

fn divided(t: Tensor, by: f32) -> Tensor {
    let data = t.as_f32().unwrap().iter().map(|v| v / by).collect();
    Tensor::f32(t.shape().clone(), data).unwrap()
}

/// Output 0 of an op.
fn apply(device: &Device, op: impl Op, inputs: &[&Tensor]) -> Tensor {
    let mut graph = Graph::new();
    let feeds: Vec<_> =
        inputs.iter().enumerate().map(|(i, t)| (graph.input(&format!("{i}"), t.tensor_type()).unwrap(), *t)).collect();
    let values: Vec<_> = feeds.iter().map(|(v, _)| *v).collect();
    let y = graph.node(op, &values).unwrap();
    device.evaluate(graph, &[y], &feeds).unwrap().remove(0)
}

fn convolve(device: &Device, x: &Tensor, w: &Tensor, window: Window2d) -> Tensor {
    apply(device, Conv2d::new(window, 1), &[x, w])
}

fn max_pool(device: &Device, x: &Tensor, window: Window2d) -> Tensor {
    apply(device, MaxPool2d { window }, &[x])
}

/// Whole numbers and quarters come out exact.
fn assert_exact(device: &Device, got: &Tensor, want: Rows<'_>) {
    assert_eq!(got.shape().dims()[1..3], [want.len(), want[0].len()], "{device}");
    assert_eq!(got.as_f32().unwrap(), flat(want), "{device}");
}

fn assert_close(device: &Device, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{device}");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(g) - w).abs() <= tolerance, "{device}, element {i}: {g}, want {w}");
    }
}

fn halves() -> Window2d {
    Window2d { stride: [2, 2], ..Window2d::new([2, 2]) }
}

#[test]
fn item_1_convolution() {
    for device in common::devices("item_1_convolution") {
        let x = image(&[
            &[3., 3., 2., 1., 0.],
            &[0., 0., 1., 3., 1.],
            &[3., 1., 2., 2., 3.],
            &[2., 0., 0., 2., 2.],
            &[2., 0., 0., 0., 1.],
        ]);
        let w = filter(&[&[0., 1., 2.], &[2., 2., 0.], &[0., 1., 2.]]);
        let y = convolve(&device, &x, &w, Window2d::new([3, 3]));
        assert_exact(&device, &y, &[&[12., 12., 17.], &[10., 17., 19.], &[9., 6., 14.]]);
    }
}

#[test]
fn item_2_pooling() {
    for device in common::devices("item_2_pooling") {
        let x = image(&[&[3., 13., 17., 11.], &[5., 3., 1., 23.], &[7., 1., 2., 3.], &[11., 17., 1., 4.]]);
        assert_exact(&device, &max_pool(&device, &x, halves()), &[&[13., 23.], &[17., 4.]]);
        let average = apply(&device, AvgPool2d { window: halves(), count_include_pad: false }, &[&x]);
        // A GPU's division may be off by 2.5 units in the last place, even where the quotient has no rest.
        assert_close(&device, average.as_f32().unwrap(), &[6., 13., 9., 2.5], 13.0 * 3.0 * f64::from(f32::EPSILON));
    }
}

#[test]
fn item_3_two_filters() {
    for device in common::devices("item_3_two_filters") {
        let x = image(&[
            &[1., 0., 0., 0., 0., 1.],
            &[0., 1., 0., 0., 1., 0.],
            &[0., 0., 1., 1., 0., 0.],
            &[1., 0., 0., 0., 1., 0.],
            &[0., 1., 0., 0., 1., 0.],
            &[0., 0., 1., 0., 1., 0.],
        ]);
        let first = filter(&[&[1., -1., -1.], &[-1., 1., -1.], &[-1., -1., 1.]]);
        let y = convolve(&device, &x, &first, Window2d::new([3, 3]));
        assert_exact(&device, &y, &[&[3., -1., -3., -1.], &[-3., 1., 0., -3.], &[-3., -3., 0., 1.], &[3., -2., -2., -1.]]);
        assert_exact(&device, &max_pool(&device, &y, halves()), &[&[3., 0.], &[3., 1.]]);
        let by_two = convolve(&device, &x, &first, Window2d { stride: [2, 2], ..Window2d::new([3, 3]) });
        assert_exact(&device, &by_two, &[&[3., -3.], &[-3., 0.]]);

        let second = filter(&[&[-1., 1., -1.], &[-1., 1., -1.], &[-1., 1., -1.]]);
        let y = convolve(&device, &x, &second, Window2d::new([3, 3]));
        assert_exact(&device, &y, &[&[-1., -1., -1., -1.], &[-1., -1., -2., 1.], &[-1., -1., -2., 1.], &[-1., 0., -4., 3.]]);
        assert_exact(&device, &max_pool(&device, &y, halves()), &[&[-1., 1.], &[0., 3.]]);
    }
}

#[test]
fn item_4_moving_average() {
    for device in common::devices("item_4_moving_average") {
        let x = image(&[&[10., 50., 60., 10., 20., 30., 40.]]);
        let w = divided(filter(&[&[1., 1., 1.]]), 3.0);
        let y = convolve(&device, &x, &w, Window2d { padding: Padding::Same, ..Window2d::new([1, 3]) });
        // Four roundings (1/3 is one) of sums up to 40, times 2 for a GPU that truncates.
        assert_close(
            &device,
            y.as_f32().unwrap(),
            &[20., 40., 40., 30., 20., 30., 70. / 3.],
            40.0 * 4.0 * f64::from(f32::EPSILON),
        );
    }
}

#[test]
fn item_5_curve_detector() {
    for device in common::devices("item_5_curve_detector") {
        let mut curve = vec![0.0; 49];
        for (row, column) in [(0, 5), (1, 4), (2, 3), (3, 3), (4, 3), (5, 3)] {
            curve[row * 7 + column] = 30.0;
        }
        let w = Tensor::f32([7, 7, 1, 1], curve).unwrap();
        let x = image(&[
            &[0., 0., 0., 0., 0., 0., 30.],
            &[0., 0., 0., 0., 50., 50., 50.],
            &[0., 0., 0., 20., 50., 0., 0.],
            &[0., 0., 0., 50., 50., 0., 0.],
            &[0., 0., 0., 50., 50., 0., 0.],
            &[0., 0., 0., 50., 50., 0., 0.],
            &[0., 0., 0., 50., 50., 0., 0.],
        ]);
        assert_exact(&device, &convolve(&device, &x, &w, Window2d::new([7, 7])), &[&[6600.]]);
    }
}

/// Slides show ninths cut off after two digits: `shown` is that of `k / 9` for the `k` that `got` is.
fn assert_ninths(device: &Device, got: &Tensor, shown: Rows<'_>) {
    assert_eq!(got.shape().dims()[1..3], [shown.len(), shown[0].len()], "{device}");
    for (i, (&got, &shown)) in got.as_f32().unwrap().iter().zip(&flat(shown)).enumerate() {
        let k = (f64::from(got) * 9.0).round();
        assert!((f64::from(got) - k / 9.0).abs() <= 1e-6, "{device}, element {i}: {got} is no multiple of 1/9");
        assert_eq!((k * 100.0 / 9.0).trunc(), (f64::from(shown) * 100.0).round(), "{device}, element {i}: {got}");
    }
}

#[test]
fn item_6_letter_x() {
    for device in common::devices("item_6_letter_x") {
        let pixel = |(r, c): (usize, usize)| if (r == c || r + c == 8) && (1..8).contains(&r) { 1.0 } else { -1.0 };
        let x = Tensor::f32([1, 9, 9, 1], (0..81).map(|i| pixel((i / 9, i % 9))).collect()).unwrap();
        let filters: [Rows<'_>; 3] = [
            &[&[1., -1., -1.], &[-1., 1., -1.], &[-1., -1., 1.]],
            &[&[1., -1., 1.], &[-1., 1., -1.], &[1., -1., 1.]],
            &[&[-1., -1., 1.], &[-1., 1., -1.], &[1., -1., -1.]],
        ];
        let first: Rows<'_> = &[
            &[0.77, -0.11, 0.11, 0.33, 0.55, -0.11, 0.33],
            &[-0.11, 1., -0.11, 0.33, -0.11, 0.11, -0.11],
            &[0.11, -0.11, 1., -0.33, 0.11, -0.11, 0.55],
            &[0.33, 0.33, -0.33, 0.55, -0.33, 0.33, 0.33],
            &[0.55, -0.11, 0.11, -0.33, 1., -0.11, 0.11],
            &[-0.11, 0.11, -0.11, 0.33, -0.11, 1., -0.11],
            &[0.33, -0.11, 0.55, 0.33, 0.11, -0.11, 0.77],
        ];
        let pooled: [Rows<'_>; 3] = [
            &[&[1., 0.33, 0.55, 0.33], &[0.33, 1., 0.33, 0.55], &[0.55, 0.33, 1., 0.11], &[0.33, 0.55, 0.11, 0.77]],
            &[&[0.55, 0.33, 0.55, 0.33], &[0.33, 1., 0.55, 0.11], &[0.55, 0.55, 0.55, 0.11], &[0.33, 0.11, 0.11, 0.33]],
            &[&[0.33, 0.55, 1., 0.77], &[0.55, 0.55, 1., 0.33], &[1., 1., 0.11, 0.55], &[0.77, 0.33, 0.55, 0.33]],
        ];
        for (i, (rows, pooled)) in filters.into_iter().zip(pooled).enumerate() {
            let map = convolve(&device, &x, &divided(filter(rows), 9.0), Window2d::new([3, 3]));
            if i == 0 {
                assert_ninths(&device, &map, first);
            }
            let positive = apply(&device, Unary::<Relu>::new(), &[&map]);
            let want: Vec<f32> = map.as_f32().unwrap().iter().map(|v| v.max(0.0)).collect();
            assert_eq!(positive.as_f32().unwrap(), want, "{device}");
            assert_ninths(&device, &max_pool(&device, &positive, Window2d { ceil: true, ..halves() }), pooled);
        }
    }
}

#[test]
fn item_7_image_kernels() {
    for device in common::devices("item_7_image_kernels") {
        let x = Tensor::f32([1, 7, 7, 1], vec![50.0; 49]).unwrap();
        for (centre, want) in [(8.0, 0.0f32), (9.0, 50.0)] {
            let w = filter(&[&[-1., -1., -1.], &[-1., centre, -1.], &[-1., -1., -1.]]);
            assert_exact(&device, &convolve(&device, &x, &w, Window2d::new([3, 3])), &[&[want; 5] as &[f32]; 5]);
        }
        let gauss: Rows<'_> =
            &[&[1., 2., 3., 2., 1.], &[2., 4., 5., 4., 2.], &[3., 5., 6., 5., 3.], &[2., 4., 5., 4., 2.], &[1., 2., 3., 2., 1.]];
        let sum: f32 = flat(gauss).iter().sum();
        // The slide's divisor 65 is not the sum of the weights, so a constant image doesn't stay what it is.
        assert_eq!(sum, 74.0);
        for divisor in [74.0, 65.0] {
            let y = convolve(&device, &x, &divided(filter(gauss), divisor), Window2d::new([5, 5]));
            let want = 50.0 * f64::from(sum) / f64::from(divisor);
            // A chain of 25 products and the rounding of the weights.
            assert_close(&device, y.as_f32().unwrap(), &[want; 9], want * 27.0 * f64::from(f32::EPSILON));
        }
    }
}

#[test]
fn item_8_sizes() {
    let out = |input: [usize; 4], window: Window2d, c_out: usize| {
        let w = [window.kernel[0], window.kernel[1], input[3], c_out];
        let types = [TensorType::f32(input), TensorType::f32(w), TensorType::f32([c_out])];
        let y = Conv2d::new(window, 1).infer(&types).unwrap().remove(0);
        let placed = window.place(input[1], input[2]).unwrap();
        assert_eq!(y.shape.dims(), [input[0], placed.h_out, placed.w_out, c_out]);
        (placed.h_out, types[1].elements() + types[2].elements())
    };
    assert_eq!(out([1, 5, 5, 1], Window2d::new([3, 3]), 1).0, 3);
    assert_eq!(out([1, 28, 28, 1], Window2d::new([3, 3]), 32), (26, 320));
    assert_eq!(out([1, 32, 32, 3], Window2d::new([5, 5]), 1), (28, 76));
    assert_eq!(out([1, 32, 32, 3], Window2d { padding: Padding::all(2), ..Window2d::new([5, 5]) }, 1).0, 32);
    assert_eq!(out([1, 32, 32, 3], Window2d { padding: Padding::Same, ..Window2d::new([5, 5]) }, 1).0, 32);
    // A fully connected node is a convolution as large as its input.
    assert_eq!(out([1, 32, 32, 3], Window2d::new([32, 32]), 1), (1, 3_073));
    let (_, parameters) = out([1, 200, 200, 3], Window2d::new([200, 200]), 100);
    assert_eq!(parameters - 100, 12_000_000);
}

#[test]
fn item_9_gradient_of_a_convolution() {
    let (x_rows, w_rows, dh_rows): (Rows<'_>, Rows<'_>, Rows<'_>) =
        (&[&[1., 0., 2.], &[3., 1., 0.], &[0., 2., 1.]], &[&[1., 0.], &[0., 1.]], &[&[1., -1.], &[2., 0.5]]);
    // dE/dW[a, b] = sum over i, j of dE/dH[i, j] X[i + a, j + b].
    let mut want = [0.0f32; 4];
    for (k, want) in want.iter_mut().enumerate() {
        *want = (0..4).map(|h| dh_rows[h / 2][h % 2] * x_rows[h / 2 + k / 2][h % 2 + k % 2]).sum();
    }
    assert_eq!(want, [7.5, 0.0, 3.0, 5.5]);
    for device in common::devices("item_9_gradient_of_a_convolution") {
        let (x, w, dh) = (image(x_rows), filter(w_rows), image(dh_rows));
        let dw = apply(&device, Conv2dGradWeight { window: Window2d::new([2, 2]), groups: 1 }, &[&x, &dh]);
        assert_eq!(dw.as_f32().unwrap(), want, "{device}");
        // The same by autodiff: E = sum of H * dh has dE/dH = dh. Then the step W - eta dE/dW, by scaling and by the optimizer's op.
        let mut graph = Graph::new();
        let x_in = graph.input("x", x.tensor_type()).unwrap();
        let dh_in = graph.input("dh", dh.tensor_type()).unwrap();
        let hyper_in = graph.input("hyper", TensorType::f32([HYPER])).unwrap();
        let health_in = graph.input("health", TensorType::u32([2])).unwrap();
        let w_state = graph.state("w", w.tensor_type()).unwrap();
        let h = graph.node(Conv2d::new(Window2d::new([2, 2]), 1), &[x_in, w_state]).unwrap();
        let product = graph.node(Binary::<Mul>::new(), &[h, dh_in]).unwrap();
        let e = graph.node(Reduce::all(Reduction::Sum, 4), &[product]).unwrap();
        let gradients = graph.gradients(e, &[w_state, h]).unwrap();
        let change = graph.node(Scale { factor: 0.25 }, &[gradients[0]]).unwrap();
        graph.node(Update::<Sgd>::default(), &[w_state, gradients[0], hyper_in, health_in]).unwrap();
        let mut runtime = Runtime::new(&device);
        let hyper = Tensor::f32([HYPER], vec![0.25, 1.0, 1.0, 0.0, 1.0, 1.0]).unwrap();
        let health = Tensor::u32([2], vec![0, 0]).unwrap();
        pollster::block_on(async {
            runtime.set_state("w", &w).await.unwrap();
            let program = runtime.load(device.plan(graph, &[gradients[0], gradients[1], change]).unwrap()).await.unwrap();
            runtime.run(program, &[(x_in, &x), (dh_in, &dh), (hyper_in, &hyper), (health_in, &health)]).await.unwrap();
            assert_eq!(runtime.fetch(program, gradients[0]).await.unwrap().as_f32().unwrap(), want, "{device}");
            assert_eq!(runtime.fetch(program, gradients[1]).await.unwrap(), dh, "{device}");
            assert_eq!(runtime.fetch(program, change).await.unwrap().as_f32().unwrap(), want.map(|d| d * 0.25), "{device}");
            let stepped: Vec<f32> = flat(w_rows).iter().zip(want).map(|(w, d)| w - 0.25 * d).collect();
            assert_eq!(runtime.state("w").await.unwrap().as_f32().unwrap(), stepped, "{device}");
            runtime.check_guards(program).await.unwrap();
        });
    }
}

#[test]
fn item_10_one_window() {
    for device in common::devices("item_10_one_window") {
        let x = image(&[&[1., 2.], &[3., 4.]]);
        assert_exact(&device, &max_pool(&device, &x, halves()), &[&[4.]]);
        let average = apply(&device, AvgPool2d { window: halves(), count_include_pad: false }, &[&x]);
        assert_close(&device, average.as_f32().unwrap(), &[2.5], 2.5 * 3.0 * f64::from(f32::EPSILON));
    }
}
