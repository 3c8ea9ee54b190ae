//! Puts a kernel's files together and sets its constants. Nothing else is generated, and no name that a user gave enters WGSL.

use crate::error::{Error, Result};
use crate::op::Kernel;

/// The WGSL of a kernel: its parts in order, with the values of [`Kernel::consts`] in their `const` and `alias` lines.
///
/// # Errors
/// [`Error::Invalid`] if a constant has no such line.
pub fn compose(kernel: &Kernel) -> Result<String> {
    let mut lines: Vec<String> = Vec::new();
    // Browsers demand the directive that naga doesn't know.
    if kernel.subgroups && cfg!(target_arch = "wasm32") {
        lines.push("enable subgroups;".to_string());
    }
    for part in &kernel.parts {
        lines.extend(part.text.lines().map(str::to_string));
        lines.push(String::new());
    }
    for (name, value) in &kernel.consts {
        let mut found = false;
        for line in &mut lines {
            let is_const = line.strip_prefix("const ").and_then(|l| l.strip_prefix(name)).is_some_and(|l| l.starts_with(':'));
            let is_alias = line.strip_prefix("alias ").and_then(|l| l.strip_prefix(name)).is_some_and(|l| l.starts_with(" ="));
            if let (true, Some((declaration, _))) = (is_const || is_alias, line.split_once('=')) {
                *line = format!("{declaration}= {value};");
                found = true;
            }
        }
        if !found {
            return Err(Error::invalid("kernel constant", name, format!("a const or alias line of {}", kernel.name)));
        }
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Source;

    static FILE: Source = Source { name: "t", text: "const A: u32 = 1u; // why\nconst AB: bool = true;\nalias T = f32;\n" };

    #[test]
    fn constants_are_set_by_whole_name() {
        let kernel = Kernel::new(&FILE, &[]).set("A", 7u32).set("T", "vec4<f32>");
        let text = compose(&kernel).unwrap();
        assert!(text.starts_with("const A: u32 = 7u;\nconst AB: bool = true;\nalias T = vec4<f32>;"), "{text}");
    }

    #[test]
    fn an_unknown_constant_is_an_error() {
        let e = compose(&Kernel::new(&FILE, &[]).set("B", 7u32)).unwrap_err().to_string();
        assert!(e.contains("got B"), "{e}");
    }
}
