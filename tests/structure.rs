//! Is the crate built as ARCHITECTURE.md says? Arrows between rooms, the list of ops, the shader files, and the layout of every
//! kernel's `Params` and bindings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.

mod common;

use common::{Recorded, recorded};
use naga::{AddressSpace, ScalarKind, StorageAccess, TypeInner};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use striate::gpu::compose;
use striate::op::{Buffer, Dispatch, Oracle, View, Word, run_f64};
use striate::ops;

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// All files below `folder` with this ending, by their path in it.
fn files(folder: &Path, ending: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().replace('\\', "/");
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "no {ending} files in {}", folder.display());
    found
}

/// Rust without comments, strings and what is compiled for unit tests only.
fn code(source: &str) -> String {
    let mut plain = String::new();
    for line in source.lines() {
        let mut in_string = false;
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' if in_string => drop(chars.next()),
                '"' => in_string = !in_string,
                // A quote in quotes would open a string.
                '\'' if !in_string && chars.peek() == Some(&'"') => drop(chars.next()),
                '/' if !in_string && chars.peek() == Some(&'/') => break,
                _ if !in_string => plain.push(c),
                _ => {}
            }
        }
        plain.push('\n');
    }
    while let Some(start) = plain.find("#[cfg(test)]") {
        let rest = &plain[start..];
        let brace = rest.find('{').unwrap_or(rest.len());
        let semicolon = rest.find(';').unwrap_or(rest.len());
        let mut end = semicolon.saturating_add(1).min(rest.len());
        if brace < semicolon {
            let mut depth = 0;
            for (i, c) in rest.char_indices().skip_while(|(i, _)| *i < brace) {
                depth += i32::from(c == '{') - i32::from(c == '}');
                if depth == 0 {
                    end = i + 1;
                    break;
                }
            }
        }
        plain.replace_range(start..start + end, "");
    }
    plain
}

/// The words that follow `prefix` wherever it stands as a path of its own: for `crate::`, the modules; groups are opened.
fn after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let (mut depth, mut start) = (0, true);
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && (c.is_alphanumeric() || c == '_') => {
                            words.insert(word(&group[i..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
            None => drop(words.insert(word(rest))),
        }
    }
    words
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// What each room may use, besides itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("random", &["error"]),
    ("tensor", &["error"]),
    ("linalg", &["error"]),
    ("op", &["error", "tensor", "random", "linalg"]),
    ("ops", &["error", "tensor", "random", "linalg", "op"]),
    ("graph", &["error", "tensor", "random", "linalg", "op", "ops"]),
    ("cpu", &["error", "tensor", "random", "linalg", "op", "graph"]),
    ("file", &["error"]),
    ("gpu", &["error", "file", "tensor", "random", "linalg", "op", "graph"]),
    ("device", &["error", "tensor", "random", "op", "ops", "graph", "cpu", "gpu"]),
    ("tune", &["error", "tensor", "op", "ops", "graph", "device", "selftest"]),
    ("data", &["error", "tensor", "random"]),
    ("selftest", &["error", "tensor", "random", "op", "ops", "graph", "device"]),
    ("nn", &["error", "tensor", "random", "op", "ops", "graph", "device", "data"]),
    ("train", &["error", "file", "tensor", "random", "op", "ops", "graph", "device", "data", "nn", "io"]),
    ("zoo", &["error", "tensor", "random", "op", "ops", "graph", "device", "nn"]),
    ("io", &["error", "file", "tensor", "random", "op", "ops", "graph", "device", "data", "nn", "zoo"]),
    ("vis", &["error", "file", "tensor", "random", "op", "ops", "graph", "device", "data", "nn", "train"]),
];

fn room(file: &str) -> &str {
    file.split('/').next().and_then(|f| f.split('.').next()).unwrap()
}

/// The room of a name that `lib.rs` re-exports, or of an exported macro.
fn room_of_name<'a>(name: &'a str, lib: &'a str) -> &'a str {
    if name == "shader" {
        return "op";
    }
    if name.chars().next().is_some_and(char::is_lowercase) {
        return name;
    }
    let line = lib.lines().find(|l| l.starts_with("pub use ") && l.split(|c: char| !c.is_alphanumeric()).any(|w| w == name));
    let line = line.unwrap_or_else(|| panic!("crate::{name} is no re-export of lib.rs"));
    line["pub use ".len()..].split("::").next().unwrap()
}

#[test]
fn arrows_between_rooms_go_one_way() {
    let sources = files(&root("src"), "rs");
    let lib = sources["lib.rs"].clone();
    let mut wrong = Vec::new();
    for (file, source) in sources.iter().filter(|(f, _)| *f != "lib.rs") {
        let Some((_, allowed)) = ARROWS.iter().find(|(r, _)| *r == room(file)) else {
            wrong.push(format!("src/{file} is in a room that the table of arrows doesn't have"));
            continue;
        };
        for name in after(&code(source), "crate::") {
            let used = room_of_name(&name, &lib);
            if used != room(file) && !allowed.contains(&used) {
                wrong.push(format!("src/{file} uses crate::{name}, which lies above it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A word of the code, as `wgpu` in `wgpu::Device`.
fn has_word(code: &str, wanted: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == wanted)
}

#[test]
fn only_gpu_names_wgpu_and_only_linalg_names_rayon_gemm_and_pulp() {
    for (file, source) in files(&root("src"), "rs") {
        let code = code(&source);
        if room(&file) != "gpu" {
            assert!(!has_word(&code, "wgpu"), "src/{file} names wgpu");
        }
        if room(&file) != "linalg" {
            assert!(!has_word(&code, "rayon"), "src/{file} names rayon");
            assert!(!has_word(&code, "pulp"), "src/{file} names pulp");
            // `gemm` alone is the module `ops::gemm` where a file imports or declares that; the crate comes without it.
            let ours = code.contains("super::gemm") || code.contains("ops::gemm") || code.contains("mod gemm");
            assert!(ours || after(&code, "gemm::").is_empty(), "src/{file} names the crate gemm");
            assert!(!code.contains("use gemm") && !code.contains("extern crate"), "src/{file} names the crate gemm");
        }
    }
}

/// The reader of sources itself, on what it must see through.
#[test]
fn the_reader_of_sources_sees_what_counts() {
    let source = "use crate::{op::{A, B}, graph};\n// crate::nn\nlet s = \"crate::io\"; x(crate::tensor::T);\n#[cfg(test)]\nmod tests { use crate::zoo; fn f() {} }\n$crate::vis::x\n";
    let found: Vec<String> = after(&code(source), "crate::").into_iter().collect();
    assert_eq!(found, ["graph", "op", "tensor"]);
    assert!(has_word("a.wgpu::B", "wgpu") && !has_word("my_wgpu", "wgpu"));
}

#[test]
fn every_op_is_declared_in_full() {
    let mut names = HashSet::new();
    for d in ops::all() {
        assert!(names.insert(d.name), "two ops are called {}", d.name);
        assert!(d.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{}", d.name);
        assert!(d.no_gradient.is_none_or(|why| why.len() > 10), "{} has no gradient, and doesn't say why", d.name);
        let cases = (d.cases)();
        assert!(!cases.is_empty(), "{} has no case", d.name);
        let mut case_names = HashSet::new();
        for case in &cases {
            let id = format!("{}/{}", d.name, case.name);
            assert!(case_names.insert(&case.name), "two cases are called {id}");
            assert_eq!(case.op.name(), d.name, "{id}");
            // The CPU twin runs, and gives what `infer` promises.
            let types = common::types(case);
            let inputs: Vec<Oracle> = case.inputs.iter().map(Oracle::from_tensor).collect();
            let views: Vec<View<'_, f64>> = inputs.iter().map(Oracle::view).collect();
            let outputs = run_f64(&*case.op, &types, &views).unwrap_or_else(|e| panic!("{id}: {e}"));
            let promised = case.op.infer(&types).unwrap();
            assert_eq!(outputs.len(), promised.len(), "{id}");
            for (o, ty) in outputs.iter().zip(&promised) {
                assert!(o.same_kind(&Oracle::zeros(ty)), "{id}: an output isn't {ty}");
            }
            let cost = case.op.cost(&types, &promised);
            assert!(case.op.view().is_some() || cost.bytes > 0, "{id} moves nothing");
        }
        assert!(!d.shaders.is_empty() || cases.iter().all(|c| c.op.view().is_some()), "{} has no shader", d.name);
    }
}

/// A declaration lists the files that are the op's own: not those of `shared/` and `gemm/`, which many ops are composed of.
fn is_own(shader: &str) -> bool {
    !shader.starts_with("shared/") && !shader.starts_with("gemm/")
}

#[test]
fn every_shader_is_used_and_listed_by_the_ops_that_use_it() {
    let mut used: BTreeSet<String> = BTreeSet::new();
    let mut by_op: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for r in recorded() {
        let own = by_op.entry(r.declaration.name).or_default();
        for part in r.dispatches.iter().flat_map(|d| &d.kernel.parts) {
            used.insert(format!("{}.wgsl", part.name));
            if is_own(part.name) {
                own.insert(part.name);
            }
        }
    }
    for d in ops::all() {
        let listed: BTreeSet<&str> = d.shaders.iter().map(|s| s.name).collect();
        assert_eq!(listed, by_op[d.name], "shaders that {} lists, and those that its cases run", d.name);
    }
    let on_disk: BTreeSet<String> = files(&root("shaders"), "wgsl").into_keys().collect();
    assert_eq!(on_disk, used, "files of shaders/, and those that a kernel is composed of");
}

#[test]
fn every_shader_opens_with_what_it_is() {
    for (file, text) in files(&root("shaders"), "wgsl") {
        assert!(text.starts_with("// "), "shaders/{file} doesn't open with a comment");
        assert!(!text.contains("enable "), "shaders/{file}: naga knows no such directive");
    }
}

/// Reads a composed kernel back and checks all that Rust believes of it.
fn check_kernel(id: &str, d: &Dispatch, module: &naga::Module) {
    let id = format!("{id}: {}", d.kernel.name);
    let [entry] = module.entry_points.as_slice() else { panic!("{id}: one entry point") };
    assert_eq!(entry.name, "main", "{id}");
    assert_eq!(entry.stage, naga::ShaderStage::Compute, "{id}");
    let invocations: u32 = entry.workgroup_size.iter().product();
    assert!((1..=256).contains(&invocations), "{id}: {invocations} invocations");
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).unwrap();
    let mut workgroup_bytes = 0;
    let mut bindings = BTreeMap::new();
    for (_, v) in module.global_variables.iter() {
        match v.space {
            AddressSpace::WorkGroup => workgroup_bytes += layouter[v.ty].size,
            AddressSpace::Uniform | AddressSpace::Storage { .. } => {
                let at = v.binding.unwrap_or_else(|| panic!("{id}: {:?} has no binding", v.name));
                assert_eq!(at.group, 0, "{id}: {:?}", v.name);
                assert!(bindings.insert(at.binding, v).is_none(), "{id}: binding {} twice", at.binding);
            }
            AddressSpace::Private => {}
            other => panic!("{id}: {:?} lies in {other:?}", v.name),
        }
    }
    assert!(workgroup_bytes <= 16 << 10, "{id}: {workgroup_bytes} bytes of workgroup memory");
    let numbers: Vec<u32> = bindings.keys().copied().collect();
    assert_eq!(numbers, (0..=d.bindings.len() as u32).collect::<Vec<_>>(), "{id}: numbers of the bindings");
    assert!(d.bindings.len() <= 8, "{id}: {} storage buffers", d.bindings.len());

    let params = bindings[&0];
    assert_eq!((params.name.as_deref(), params.space), (Some("params"), AddressSpace::Uniform), "{id}");
    let ty = &module.types[params.ty];
    assert_eq!(ty.name.as_deref(), Some("Params"), "{id}");
    let TypeInner::Struct { members, .. } = &ty.inner else { panic!("{id}: Params is no struct") };
    let declared: Vec<(&str, &str, u32)> = members
        .iter()
        .map(|m| {
            let kind = match module.types[m.ty].inner {
                TypeInner::Scalar(s) if s.width == 4 && s.kind == ScalarKind::Uint => "u32",
                TypeInner::Scalar(s) if s.width == 4 && s.kind == ScalarKind::Sint => "i32",
                TypeInner::Scalar(s) if s.width == 4 && s.kind == ScalarKind::Float => "f32",
                _ => "other",
            };
            (m.name.as_deref().unwrap_or(""), kind, m.offset)
        })
        .collect();
    let given: Vec<(&str, &str, u32)> =
        d.params.iter().enumerate().map(|(i, (name, w))| (*name, Word::type_name(*w), 4 * i as u32)).collect();
    assert_eq!(declared, given, "{id}: Params in WGSL, and in Rust");

    let mut writes = false;
    for (i, b) in d.bindings.iter().enumerate() {
        let want = if b.write { StorageAccess::LOAD | StorageAccess::STORE } else { StorageAccess::LOAD };
        let space = bindings[&(i as u32 + 1)].space;
        assert_eq!(space, AddressSpace::Storage { access: want }, "{id}: binding {}", i + 1);
        assert!(b.write || !writes, "{id}: reads come before writes");
        writes |= b.write;
        // Within a dispatch, WebGPU lets no buffer be written that is bound a second time.
        let also = d.bindings.iter().enumerate().any(|(j, other)| j != i && other.buffer == b.buffer);
        assert!(!b.write || !also, "{id}: {:?} is written and bound twice", b.buffer);
    }
    assert!(writes, "{id} writes nothing");
}

/// What depends on the tensors: grids, and bindings as vectors, which must not cut off a tensor's end.
fn check_sizes(r: &Recorded, d: &Dispatch, module: &naga::Module) {
    let id = format!("{}: {}", r.id, d.kernel.name);
    assert!(d.grid.iter().all(|n| (1..=65_535).contains(n)), "{id}: grid {:?}", d.grid);
    for (_, v) in module.global_variables.iter() {
        let (AddressSpace::Storage { .. }, Some(at)) = (v.space, &v.binding) else { continue };
        let [inputs, outputs, temps] = &r.types;
        let ty = match d.bindings[at.binding as usize - 1].buffer {
            Buffer::Input(i) => &inputs[i],
            Buffer::Output(o) => &outputs[o],
            Buffer::Temp(t) => &temps[t],
        };
        let TypeInner::Array { stride, .. } = module.types[v.ty].inner else { panic!("{id}: {:?} is no array", v.name) };
        let bytes = ty.bytes().next_multiple_of(4);
        assert!(bytes.is_multiple_of(stride as usize), "{id}: {ty} bound as elements of {stride} bytes");
    }
}

#[test]
fn params_and_bindings_are_what_rust_believes() {
    let mut modules: std::collections::HashMap<_, naga::Module> = std::collections::HashMap::new();
    for r in recorded() {
        for d in &r.dispatches {
            if !modules.contains_key(&d.kernel) {
                let wgsl = compose(&d.kernel).unwrap_or_else(|e| panic!("{}: {e}", r.id));
                let module = naga::front::wgsl::parse_str(&wgsl);
                modules.insert(d.kernel.clone(), module.unwrap_or_else(|e| panic!("{}: {}", r.id, e.emit_to_string(&wgsl))));
            }
            // Params and bindings belong to the dispatch: two of one kernel could differ.
            check_kernel(&r.id, d, &modules[&d.kernel]);
            check_sizes(&r, d, &modules[&d.kernel]);
        }
    }
    println!("{} kernels", modules.len());
}
