// Losses of an element and their slopes by the prediction, four elements at a time. LOSS selects one; each is a row of
// src/ops/losses.rs. Imported by: losses, losses_grad.

const LOSS: u32 = 0u;

fn nan_lanes(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

// x, unless it is a NaN, which a function of it may have lost.
fn keep_nan(y: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
    return select(y, x, nan_lanes(x));
}

// 1 for class 1, -1 for class 0.
fn side(t: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(-1.0), vec4<f32>(1.0), t > vec4<f32>(0.0));
}

// exp(-|x|), never above 1.
fn exp_of_minus(x: vec4<f32>) -> vec4<f32> {
    return keep_nan(exp(-abs(x)), x);
}

// k: what the row has as its parameter.
fn loss_of(p: vec4<f32>, t: vec4<f32>, k: f32) -> vec4<f32> {
    let zero = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    let d = p - t;
    switch LOSS {
        case 1u: {
            return abs(d);
        }
        case 2u: {
            let near = min(abs(d), vec4<f32>(k));
            return keep_nan(near * (abs(d) - 0.5 * near), d);
        }
        case 3u: {
            let margin = one - side(t) * p;
            return keep_nan(max(margin, zero), margin);
        }
        case 4u: {
            let margin = one - side(t) * p;
            let short = keep_nan(max(margin, zero), margin);
            return short * short;
        }
        case 5u: {
            // ln(1 + e^-p) = max(-p, 0) + ln(1 + e^-|p|)
            let far = log(one + exp_of_minus(p)) + max(-p, zero);
            return keep_nan((one - t) * p + (one + (k - 1.0) * t) * far, p);
        }
        case 6u: {
            // 0 for t = 0, whatever the prediction.
            return select(t * (log(t) - p), zero, t == zero);
        }
        default: {
            return d * d;
        }
    }
}

fn slope_of(p: vec4<f32>, t: vec4<f32>, k: f32) -> vec4<f32> {
    let zero = vec4<f32>(0.0);
    let one = vec4<f32>(1.0);
    let d = p - t;
    switch LOSS {
        case 1u: {
            return keep_nan(sign(d), d);
        }
        case 2u: {
            return keep_nan(max(min(d, vec4<f32>(k)), vec4<f32>(-k)), d);
        }
        case 3u: {
            let margin = one - side(t) * p;
            return keep_nan(select(zero, -side(t), margin > zero), margin);
        }
        case 4u: {
            let margin = one - side(t) * p;
            return keep_nan(-2.0 * side(t) * max(margin, zero), margin);
        }
        case 5u: {
            // The sigmoid of -p.
            let e = exp_of_minus(p);
            let s = select(one, e, p > zero) / (one + e);
            return keep_nan((one - t) - (one + (k - 1.0) * t) * s, p);
        }
        case 6u: {
            return -t;
        }
        default: {
            return 2.0 * d;
        }
    }
}
