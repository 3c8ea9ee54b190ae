//! Einstein's sums of one or two tensors: transposes, sums, and products of matrices.

use super::super::lower::Lower;
use super::matmul::stacked;
use super::{Rule, rule};
use crate::error::{Error, Result};
use crate::op::Value;
use crate::ops::reduce::{Reduction, reduce};
use crate::ops::slice::{Slice, SliceRange};

pub(super) const RULES: &[Rule] = &[rule("Einsum", "einsum", einsum)];

/// Letters of each operand and of the result; axes that `...` stands for are capital letters from the end of the alphabet on, the last one Z.
fn labels(equation: &str, ranks: &[usize]) -> Result<(Vec<Vec<char>>, Vec<char>)> {
    let wrong = |want: &str| Error::invalid("equation", format!("'{}'", equation.escape_debug()), want.to_string());
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = equation.split_once("->").map_or((equation.as_str(), None), |(l, r)| (l, Some(r)));
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != ranks.len() {
        return Err(wrong("a term for each input"));
    }
    let dots = |n: usize| (0..n).map(|i| (b'Z' - (n - 1 - i) as u8) as char).collect::<String>();
    let opened = |term: &str, rank: Option<usize>| {
        let named = term.replace("...", "").chars().count();
        let term = match (term.contains("..."), rank) {
            (true, Some(rank)) => term.replace("...", &dots(rank.checked_sub(named).filter(|n| *n < 13)?)),
            _ => term.to_string(),
        };
        term.chars().all(|c| c.is_ascii_alphabetic()).then(|| term.chars().collect::<Vec<char>>())
    };
    let mut all = Vec::new();
    for (term, &rank) in terms.iter().zip(ranks) {
        let term = opened(term, Some(rank)).filter(|term| term.len() == rank);
        all.push(term.ok_or_else(|| wrong("a letter for each axis, or '...'"))?);
    }
    let most = all.iter().flatten().filter(|c| c.is_ascii_uppercase()).copied().min();
    let outer: String = most.map_or(String::new(), |first| (first..='Z').collect());
    let result = match right {
        Some(right) => right.replace("...", &outer).chars().collect(),
        None => {
            let mut single: Vec<char> = all.iter().flatten().copied().filter(|c| c.is_ascii_lowercase()).collect();
            single.sort_unstable();
            let once: Vec<char> = single.chunk_by(|a, b| a == b).filter(|same| same.len() == 1).map(|same| same[0]).collect();
            outer.chars().chain(once).collect::<Vec<char>>()
        }
    };
    let known = |c: &char| all.iter().any(|term| term.contains(c));
    if !result.iter().all(known) || repeated(&result).is_some() {
        return Err(wrong("letters of the inputs, each at most once in the result"));
    }
    Ok((all, result))
}

/// Two places of a letter.
fn repeated(term: &[char]) -> Option<[usize; 2]> {
    (0..term.len()).find_map(|i| Some([term[..i].iter().position(|c| *c == term[i])?, i]))
}

/// A tensor whose axes have different letters: of two of one letter the diagonal is left.
fn diagonals(l: &mut Lower<'_, '_>, mut x: Value, names: &mut Vec<char>) -> Result<Value> {
    while let Some([i, j]) = repeated(names) {
        let order: Vec<usize> = (0..names.len()).filter(|&axis| axis != i && axis != j).chain([i, j]).collect();
        x = l.transposed(x, &order)?;
        let dims = l.shape(x);
        let (outer, n) = (&dims[..dims.len() - 2], dims[dims.len() - 1]);
        let rows = outer.iter().product::<usize>();
        let flat = l.reshaped(x, [rows, n * n])?;
        let places = SliceRange { axis: 1, start: 0, len: n, step: n as isize + 1 };
        let diagonal = l.add(Slice { ranges: vec![places] }, &[flat])?;
        x = l.reshaped(diagonal, [outer, &[n]].concat())?;
        let letter = names[i];
        names.retain(|c| *c != letter);
        names.push(letter);
    }
    Ok(x)
}

/// The axes of a tensor, named, in another order, those that `kept` doesn't have summed up.
fn arranged(l: &mut Lower<'_, '_>, mut x: Value, names: &[char], kept: &[char]) -> Result<Value> {
    let summed: Vec<usize> = (0..names.len()).filter(|&i| !kept.contains(&names[i])).collect();
    let mut left: Vec<char> = names.to_vec();
    if !summed.is_empty() {
        x = reduce(l.ctx.graph(), x, Reduction::Sum, &summed, false)?;
        left.retain(|c| kept.contains(c));
    }
    let order: Vec<usize> = kept.iter().filter_map(|c| left.iter().position(|own| own == c)).collect();
    if order.len() < 2 { Ok(x) } else { l.transposed(x, &order) }
}

fn einsum(l: &mut Lower<'_, '_>) -> Result<()> {
    let equation = l.attributes().string("equation")?.unwrap_or_default().to_string();
    let ranks = (0..l.n_inputs()).map(|i| l.rank(i)).collect::<Result<Vec<_>>>()?;
    let (mut names, result) = labels(&equation, &ranks)?;
    let element = l.element(0)?;
    let mut sizes = std::collections::HashMap::new();
    for (i, term) in names.iter().enumerate() {
        for (&c, d) in term.iter().zip(l.dims(i)?) {
            let known = *sizes.entry(c).or_insert(d);
            if known != d {
                return Err(Error::invalid("inputs", format!("{known} and {d} for '{c}'"), "equal dimensions of a letter"));
            }
        }
    }
    let dims = |letters: &[char]| letters.iter().map(|c| sizes[c]).collect::<Vec<usize>>();
    let out = dims(&result);
    let y = match names.len() {
        1 => {
            let x = l.plain(0)?;
            let x = diagonals(l, x, &mut names[0])?;
            arranged(l, x, &names[0], &result)?
        }
        2 => {
            let (x, w) = (l.plain(0)?, l.plain(1)?);
            let (x, w) = (diagonals(l, x, &mut names[0])?, diagonals(l, w, &mut names[1])?);
            let (a, b) = (&names[0], &names[1]);
            let pick =
                |from: &[char], test: &dyn Fn(&char) -> bool| from.iter().copied().filter(|c| test(c)).collect::<Vec<char>>();
            let outer = pick(a, &|c| b.contains(c) && result.contains(c));
            let inner = pick(a, &|c| b.contains(c) && !result.contains(c));
            let rows = pick(a, &|c| !b.contains(c) && result.contains(c));
            let columns = pick(b, &|c| !a.contains(c) && result.contains(c));
            let x = arranged(l, x, a, &[&outer[..], &rows, &inner].concat())?;
            let w = arranged(l, w, b, &[&outer[..], &inner, &columns].concat())?;
            let count = |letters: &[char]| dims(letters).iter().product::<usize>();
            let left = [&dims(&outer)[..], &[count(&rows), count(&inner)]].concat();
            let right = [&dims(&outer)[..], &[count(&inner), count(&columns)]].concat();
            let (x, w) = (l.reshaped(x, left.clone())?, l.reshaped(w, right.clone())?);
            let (y, _) = stacked(l, x, &left, w, &right)?;
            let made = [&outer[..], &rows, &columns].concat();
            let y = l.reshaped(y, dims(&made))?;
            arranged(l, y, &made, &result)?
        }
        n => return Err(Error::invalid("inputs", n, "one or two")),
    };
    l.put_plain(0, y, element, out)
}
