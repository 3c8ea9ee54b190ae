// s^-beta for positive s. Imported by: local_response_norm, local_response_norm_grad, after shared/finite.

fn inverse_power(s: f32, beta: f32) -> f32 {
    if (beta == 0.75) {
        let root = sqrt(s);
        return 1.0 / (root * sqrt(root));
    }
    return exp_or_nan(-(beta * log_or_nan(s)));
}
