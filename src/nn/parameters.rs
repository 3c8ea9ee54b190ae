//! Where parameters lie: next to each other in pages, each no larger than what the device can bind, so that one dispatch updates a page.

use super::Init;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::{PAGE_ALIGNMENT, Value};
use crate::ops::view::View;
use crate::tensor::{MAX_ELEMENTS, Shape, TensorType};
use std::ops::Range;

/// What a layer asked for.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub name: String,
    pub shape: Shape,
    pub init: Init,
    /// Whether it may lie in several pages, each with some of its rows.
    pub by_rows: bool,
}

/// A parameter and its place.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub name: String,
    pub shape: Shape,
    pub init: Init,
    /// Its rows in order, in one piece unless it is larger than a page.
    pub pieces: Vec<Piece>,
}

/// A range of a parameter's rows, in a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub page: usize,
    /// First element in the page.
    pub offset: usize,
    pub shape: Shape,
}

impl Parameter {
    /// The pieces, each with the range of the parameter's elements that it holds.
    pub fn ranges(&self) -> impl Iterator<Item = (&Piece, Range<usize>)> {
        self.pieces.iter().scan(0, |at, piece| {
            let range = *at..*at + piece.shape.elements();
            *at = range.end;
            Some((piece, range))
        })
    }
}

impl Parameter {
    /// The layer's part of the name.
    pub fn layer(&self) -> &str {
        self.name.rsplit_once('/').map_or(&self.name, |(layer, _)| layer)
    }
}

/// All parameters of a network.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub parameters: Vec<Parameter>,
    /// Elements of each page.
    pub pages: Vec<usize>,
}

impl Layout {
    /// Fills pages of at most `max_bytes` in order. A parameter that is larger is cut by rows; one that mustn't be gets a page of
    /// its own.
    pub fn new(declared: Vec<Declared>, max_bytes: u64) -> Layout {
        let limit = usize::try_from(max_bytes / 4).unwrap_or(usize::MAX).min(MAX_ELEMENTS);
        let mut pages: Vec<usize> = Vec::new();
        let mut place = |shape: Shape| {
            let len = shape.elements();
            let at = pages.last().map(|end| end.next_multiple_of(PAGE_ALIGNMENT)).filter(|at| at + len <= limit);
            let offset = at.unwrap_or(0);
            if at.is_none() {
                pages.push(0);
            }
            if let Some(end) = pages.last_mut() {
                *end = offset + len;
            }
            Piece { page: pages.len() - 1, offset, shape }
        };
        let mut parameters = Vec::with_capacity(declared.len());
        for Declared { name, shape, init, by_rows } in declared {
            let pieces = cut_by_rows(&shape, if by_rows { limit } else { usize::MAX }).map(&mut place).collect();
            parameters.push(Parameter { name, shape, init, pieces });
        }
        // Whole vectors of four, where that stays below the limit, let an update read and write four elements at once.
        for len in &mut pages {
            *len = Some(len.next_multiple_of(4)).filter(|&l| l <= limit).unwrap_or(*len);
        }
        Layout { parameters, pages }
    }

    /// Number of trainable values.
    pub fn elements(&self) -> usize {
        self.parameters.iter().map(|p| p.shape.elements()).sum()
    }
}

/// Shapes of pieces of at most `limit` elements, where a row has no more: whole rows, in fours, which kernels read at once.
fn cut_by_rows(shape: &Shape, limit: usize) -> impl Iterator<Item = Shape> {
    let rows = shape.dims().first().copied().unwrap_or(1);
    let row_len = shape.elements() / rows;
    let most = (limit / row_len.max(1)).clamp(1, rows);
    let step = if most < rows && most >= 4 { most / 4 * 4 } else { most };
    (0..rows).step_by(step).map(move |first| {
        let mut dims = shape.dims().to_vec();
        if let Some(d) = dims.first_mut() {
            *d = step.min(rows - first);
        }
        dims.into()
    })
}

/// Name of the state that holds a page of parameters.
pub(crate) fn page_name(page: usize) -> String {
    format!("parameters/{page}")
}

/// The pages as states of one graph, and the views of them that are the parameters' pieces.
#[derive(Debug)]
pub(crate) struct Pages {
    layout: Layout,
    pages: Vec<Option<Value>>,
    /// By parameter, the views of its pieces; none if the graph doesn't read it.
    views: Vec<Vec<Value>>,
}

impl Pages {
    pub fn new(layout: Layout) -> Pages {
        Pages { pages: vec![None; layout.pages.len()], views: vec![Vec::new(); layout.parameters.len()], layout }
    }

    /// The views of the pieces of a parameter that was declared under this name with this shape.
    pub fn views_of(&mut self, graph: &mut Graph, name: &str, shape: &Shape) -> Result<Vec<Value>> {
        let Some(i) = self.layout.parameters.iter().position(|p| p.name == name && p.shape == *shape) else {
            let known: Vec<String> = self.layout.parameters.iter().map(|p| format!("{} {}", p.name, p.shape)).collect();
            return Err(Error::invalid("parameter", format!("{name} {shape}"), format!("one of {}", known.join(", "))));
        };
        if self.views[i].is_empty() {
            for piece in self.layout.parameters[i].pieces.clone() {
                let page = self.page(graph, piece.page)?;
                self.views[i].push(graph.node(View { offset: piece.offset, shape: piece.shape }, &[page])?);
            }
        }
        Ok(self.views[i].clone())
    }

    /// The state that holds a page.
    pub fn page(&mut self, graph: &mut Graph, page: usize) -> Result<Value> {
        if let Some(value) = self.pages[page] {
            return Ok(value);
        }
        let value = graph.state(&page_name(page), TensorType::f32([self.layout.pages[page]]))?;
        self.pages[page] = Some(value);
        Ok(value)
    }

    /// The pieces in a page that the graph reads, as first element and view.
    pub fn pieces_in(&self, page: usize) -> Vec<(usize, Value)> {
        let all = self.layout.parameters.iter().zip(&self.views);
        let pieces = all.flat_map(|(p, views)| p.pieces.iter().zip(views));
        pieces.filter(|(piece, _)| piece.page == page).map(|(piece, &view)| (piece.offset, view)).collect()
    }

    /// All views.
    pub fn views(&self) -> Vec<Value> {
        self.views.iter().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declare(lens: &[usize]) -> Vec<Declared> {
        let one = |&len: &usize| Declared { name: format!("l{len}/w"), shape: [len].into(), init: Init::Zeros, by_rows: false };
        lens.iter().map(one).collect()
    }

    fn places(lens: &[usize], max_elements: u64) -> (Vec<(usize, usize)>, Vec<usize>) {
        let layout = Layout::new(declare(lens), 4 * max_elements);
        (layout.parameters.iter().map(|p| (p.pieces[0].page, p.pieces[0].offset)).collect(), layout.pages)
    }

    #[test]
    fn parameters_fill_pages_in_order_at_aligned_offsets() {
        assert_eq!(places(&[288, 32, 65, 1], 1 << 20), (vec![(0, 0), (0, 320), (0, 384), (0, 512)], vec![516]));
        assert_eq!(places(&[100, 100, 100], 256), (vec![(0, 0), (0, 128), (1, 0)], vec![228, 100]));
        // One that is larger than a page and mustn't be cut has its own, and the next starts another.
        assert_eq!(places(&[10, 1000, 10], 256), (vec![(0, 0), (1, 0), (2, 0)], vec![12, 1000, 12]));
        assert_eq!(places(&[255, 5], 255).1, vec![255, 8]);
        assert_eq!(places(&[], 256), (vec![], vec![]));
    }

    #[test]
    fn a_matrix_larger_than_a_page_is_cut_by_rows() {
        let matrix = Declared { name: "fc6/weight".into(), shape: [22, 50].into(), init: Init::Zeros, by_rows: true };
        let layout = Layout::new([declare(&[10]), vec![matrix], declare(&[30])].concat(), 4 * 500);
        let piece = |page, offset, shape: [usize; 2]| Piece { page, offset, shape: shape.into() };
        let cut = vec![piece(0, 64, [8, 50]), piece(1, 0, [8, 50]), piece(2, 0, [6, 50])];
        assert_eq!(layout.parameters[1].pieces, cut);
        assert_eq!(layout.parameters[2].pieces, vec![Piece { page: 2, offset: 320, shape: [30].into() }]);
        assert_eq!(layout.elements(), 10 + 1100 + 30);
        let ranges: Vec<_> = layout.parameters[1].ranges().map(|(_, range)| range).collect();
        assert_eq!(ranges, [0..400, 400..800, 800..1100]);
    }
}
