//! Where parameters lie: next to each other in pages, each no larger than what the device can bind, so that one dispatch updates a page.
//! What follows statistics of the batches lies in pages of its own, which optimizers don't see.

use super::Init;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::{PAGE_ALIGNMENT, Value};
use crate::ops::binary::{Add, Binary, Sub};
use crate::ops::scale::Scale;
use crate::ops::view::View;
use crate::random::Seed;
use crate::tensor::{MAX_ELEMENTS, Shape, Tensor, TensorType};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Where a parameter's initial values come from.
#[derive(Clone, Debug)]
pub enum Initial {
    /// They are drawn, or all the same.
    Drawn(Init),
    /// They are known, as those of a network that was read from a file.
    Given(Given),
}

/// Values that are known, and are made when they are needed: a model asks for them once, when it is built.
#[derive(Clone)]
pub struct Given(Arc<dyn Fn() -> Result<Vec<f32>> + Send + Sync>);

impl Given {
    /// What `values` returns, as many numbers as the parameter has elements.
    pub fn new(values: impl Fn() -> Result<Vec<f32>> + Send + Sync + 'static) -> Given {
        Given(Arc::new(values))
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given")
    }
}

impl From<Init> for Initial {
    fn from(init: Init) -> Initial {
        Initial::Drawn(init)
    }
}

impl From<Given> for Initial {
    fn from(given: Given) -> Initial {
        Initial::Given(given)
    }
}

impl Initial {
    /// Fails for numbers that make no sense.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Initial::Drawn(init) => init.check(),
            Initial::Given(_) => Ok(()),
        }
    }

    /// The initial values of parameter number `index` of a model.
    pub(crate) fn tensor(&self, shape: &Shape, seed: Seed, index: u32) -> Result<Tensor> {
        match self {
            Initial::Drawn(init) => init.tensor(shape, seed, index),
            Initial::Given(Given(values)) => Tensor::f32(shape.clone(), values()?),
        }
    }
}

/// How training changes a tensor of a layer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Kind {
    /// By the optimizer.
    Trained,
    /// It is a running mean of a number that each batch gives.
    Running {
        /// Share that it keeps at a step.
        momentum: f64,
    },
    /// Not at all.
    Frozen,
}

/// What a layer asked for.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub name: String,
    pub shape: Shape,
    pub init: Initial,
    /// Whether it may lie in several pages, each with some of its rows.
    pub by_rows: bool,
    pub kind: Kind,
}

/// A parameter or running mean, and its place.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub name: String,
    pub shape: Shape,
    pub init: Initial,
    /// Its rows in order, in one piece unless it is larger than a page.
    pub pieces: Vec<Piece>,
    pub kind: Kind,
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
    /// Puts the parameter's values in their places.
    pub fn fill(&self, pages: &mut [Vec<f32>], values: &[f32]) {
        for (piece, range) in self.ranges() {
            pages[piece.page][piece.offset..][..range.len()].copy_from_slice(&values[range]);
        }
    }

    /// The parameter's values from their places, as [`Parameter::fill`] puts them there.
    pub fn values(&self, pages: &[Vec<f32>]) -> Result<Tensor> {
        let mut values = Vec::with_capacity(self.shape.elements());
        for piece in &self.pieces {
            values.extend_from_slice(&pages[piece.page][piece.offset..][..piece.shape.elements()]);
        }
        Tensor::f32(self.shape.clone(), values)
    }

    /// The layer's part of the name.
    pub fn layer(&self) -> &str {
        self.name.rsplit_once('/').map_or(&self.name, |(layer, _)| layer)
    }
}

/// Elements that one dispatch updates.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct PageLayout {
    pub len: usize,
    pub kind: Kind,
}

/// All parameters and running means of a network.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub parameters: Vec<Parameter>,
    pub pages: Vec<PageLayout>,
}

impl Layout {
    /// Fills pages of at most `max_bytes` in order, each with what is updated alike. A parameter that is larger is cut by rows; one that mustn't be gets a page of
    /// its own.
    pub fn new(declared: Vec<Declared>, max_bytes: u64) -> Layout {
        let limit = usize::try_from(max_bytes / 4).unwrap_or(usize::MAX).min(MAX_ELEMENTS);
        let mut pages: Vec<PageLayout> = Vec::new();
        let mut place = |shape: Shape, kind: Kind| {
            let len = shape.elements();
            let open = pages.iter().rposition(|p| p.kind == kind);
            let at = open.map(|page| (page, pages[page].len.next_multiple_of(PAGE_ALIGNMENT)));
            let (page, offset) = at.filter(|(_, offset)| offset + len <= limit).unwrap_or((pages.len(), 0));
            if page == pages.len() {
                pages.push(PageLayout { len: 0, kind });
            }
            pages[page].len = offset + len;
            Piece { page, offset, shape }
        };
        let mut parameters = Vec::with_capacity(declared.len());
        for Declared { name, shape, init, by_rows, kind } in declared {
            let cut = cut_by_rows(&shape, if by_rows { limit } else { usize::MAX });
            let pieces = cut.map(|piece| place(piece, kind)).collect();
            parameters.push(Parameter { name, shape, init, pieces, kind });
        }
        // Whole vectors of four, where that stays below the limit, let an update read and write four elements at once.
        for PageLayout { len, .. } in &mut pages {
            *len = Some(len.next_multiple_of(4)).filter(|&l| l <= limit).unwrap_or(*len);
        }
        Layout { parameters, pages }
    }

    /// Pages of zeros.
    pub fn empty(&self) -> Vec<Vec<f32>> {
        self.pages.iter().map(|page| vec![0.0; page.len]).collect()
    }

    /// Name of the state that holds a page.
    pub fn page_name(&self, page: usize) -> String {
        match self.pages[page].kind {
            Kind::Trained => format!("parameters/{page}"),
            Kind::Running { .. } => format!("running/{page}"),
            Kind::Frozen => format!("frozen/{page}"),
        }
    }

    /// The pages of parameters.
    pub fn trained_pages(&self) -> impl Iterator<Item = usize> {
        (0..self.pages.len()).filter(|&page| self.pages[page].kind == Kind::Trained)
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

/// What a running mean takes in so that it becomes what it would by taking in one value after the other: from
/// `m (m r + (1 - m) a) + (1 - m) b = m r + (1 - m) v` comes `v = b + m (a - r)`.
fn combined(graph: &mut Graph, kind: Kind, running: Value, first: Value, rest: &[Value]) -> Result<Value> {
    let Kind::Running { momentum } = kind else { return Ok(first) };
    let mut value = first;
    for &next in rest {
        let moved = graph.node(Binary::<Sub>::new(), &[value, running])?;
        let moved = graph.node(Scale { factor: momentum as f32 }, &[moved])?;
        value = graph.node(Binary::<Add>::new(), &[next, moved])?;
    }
    Ok(value)
}

/// The pages as states of one graph, and the views of them that are the parameters' pieces.
#[derive(Debug)]
pub(crate) struct Pages {
    layout: Layout,
    pages: Vec<Option<Value>>,
    /// By parameter, the views of its pieces; none if the graph doesn't read it.
    views: Vec<Vec<Value>>,
    /// By parameter, the numbers of the batch that a running mean takes in, one for each place where its layer is read.
    followed: Vec<Vec<Value>>,
    /// What layers add to the loss, each `[1]`.
    penalties: Vec<Value>,
    /// The tensors that have been penalised.
    penalised: Vec<Value>,
}

impl Pages {
    pub fn new(layout: Layout) -> Pages {
        let n = layout.parameters.len();
        Pages {
            pages: vec![None; layout.pages.len()],
            views: vec![Vec::new(); n],
            followed: vec![Vec::new(); n],
            penalties: Vec::new(),
            penalised: Vec::new(),
            layout,
        }
    }

    /// The views of the pieces of a parameter that was declared under this name with this shape.
    pub fn views_of(&mut self, graph: &mut Graph, name: &str, shape: &Shape) -> Result<Vec<Value>> {
        let i = self.index(name, shape)?;
        if self.views[i].is_empty() {
            for piece in self.layout.parameters[i].pieces.clone() {
                let page = self.page(graph, piece.page)?;
                self.views[i].push(graph.node(View { offset: piece.offset, shape: piece.shape }, &[page])?);
            }
        }
        Ok(self.views[i].clone())
    }

    fn index(&self, name: &str, shape: &Shape) -> Result<usize> {
        self.layout.parameters.iter().position(|p| p.name == name && p.shape == *shape).ok_or_else(|| {
            let known: Vec<String> = self.layout.parameters.iter().map(|p| format!("{} {}", p.name, p.shape)).collect();
            Error::invalid("parameter", format!("{name} {shape}"), format!("one of {}", known.join(", ")))
        })
    }

    /// Whether a tensor has no penalty yet; from here on it has.
    pub fn begin_penalty(&mut self, tensor: Value) -> bool {
        let is_new = !self.penalised.contains(&tensor);
        self.penalised.push(tensor);
        is_new
    }

    /// Adds to the loss, `[1]`.
    pub fn penalise(&mut self, penalty: Value) {
        self.penalties.push(penalty);
    }

    /// What is added to the loss, each `[1]`.
    pub fn penalties(&self) -> &[Value] {
        &self.penalties
    }

    /// Says what a running mean takes in at this step.
    pub fn follow(&mut self, graph: &Graph, name: &str, value: Value) -> Result<()> {
        let i = self.index(name, &graph.info(value).ty.shape)?;
        self.followed[i].push(value);
        Ok(())
    }

    /// What the running means in a page take in, as first element and value; where nothing was said, their own values, so that they
    /// stay as they are.
    pub fn followed_in(&mut self, graph: &mut Graph, page: usize) -> Result<Vec<(usize, Value)>> {
        let mut values = Vec::new();
        for (i, p) in self.layout.parameters.clone().iter().enumerate() {
            for piece in p.pieces.iter().filter(|piece| piece.page == page) {
                let value = match self.followed[i].clone()[..] {
                    [value] => value,
                    [first, ref rest @ ..] => {
                        let running = self.views_of(graph, &p.name, &p.shape)?[0];
                        combined(graph, p.kind, running, first, rest)?
                    }
                    [] => self.views_of(graph, &p.name, &p.shape)?[0],
                };
                values.push((piece.offset, value));
            }
        }
        Ok(values)
    }

    /// The state that holds a page.
    pub fn page(&mut self, graph: &mut Graph, page: usize) -> Result<Value> {
        if let Some(value) = self.pages[page] {
            return Ok(value);
        }
        let value = graph.state(&self.layout.page_name(page), TensorType::f32([self.layout.pages[page].len]))?;
        self.pages[page] = Some(value);
        Ok(value)
    }

    /// The pieces in a page that the graph reads, as first element and view.
    pub fn pieces_in(&self, page: usize) -> Vec<(usize, Value)> {
        let all = self.layout.parameters.iter().zip(&self.views);
        let pieces = all.flat_map(|(p, views)| p.pieces.iter().zip(views));
        pieces.filter(|(piece, _)| piece.page == page).map(|(piece, &view)| (piece.offset, view)).collect()
    }

    /// All views of what an optimizer trains.
    pub fn trained_views(&self) -> Vec<Value> {
        let all = self.layout.parameters.iter().zip(&self.views);
        all.filter(|(p, _)| p.kind == Kind::Trained).flat_map(|(_, views)| views).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: String, shape: Shape, by_rows: bool) -> Declared {
        Declared { name, shape, init: Init::Zeros.into(), by_rows, kind: Kind::Trained }
    }

    fn declare(lens: &[usize]) -> Vec<Declared> {
        lens.iter().map(|&len| declared(format!("l{len}/w"), [len].into(), false)).collect()
    }

    fn places(lens: &[usize], max_elements: u64) -> (Vec<(usize, usize)>, Vec<usize>) {
        let layout = Layout::new(declare(lens), 4 * max_elements);
        let places = layout.parameters.iter().map(|p| (p.pieces[0].page, p.pieces[0].offset)).collect();
        (places, layout.pages.iter().map(|p| p.len).collect())
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
        let matrix = declared("fc6/weight".into(), [22, 50].into(), true);
        let layout = Layout::new([declare(&[10]), vec![matrix], declare(&[30])].concat(), 4 * 500);
        let piece = |page, offset, shape: [usize; 2]| Piece { page, offset, shape: shape.into() };
        let cut = vec![piece(0, 64, [8, 50]), piece(1, 0, [8, 50]), piece(2, 0, [6, 50])];
        assert_eq!(layout.parameters[1].pieces, cut);
        assert_eq!(layout.parameters[2].pieces, vec![Piece { page: 2, offset: 320, shape: [30].into() }]);
        let ranges: Vec<_> = layout.parameters[1].ranges().map(|(_, range)| range).collect();
        assert_eq!(ranges, [0..400, 400..800, 800..1100]);
    }

    #[test]
    fn running_means_have_pages_of_their_own() {
        let running = |momentum| Kind::Running { momentum };
        let kinds = [Kind::Trained, running(0.9), Kind::Trained, running(0.9), running(0.99)];
        let mut all = declare(&[10, 20, 30, 40, 50]);
        all.iter_mut().zip(kinds).for_each(|(d, kind)| d.kind = kind);
        let layout = Layout::new(all, 1 << 20);
        let places: Vec<_> = layout.parameters.iter().map(|p| (p.pieces[0].page, p.pieces[0].offset)).collect();
        assert_eq!(places, [(0, 0), (1, 0), (0, 64), (1, 64), (2, 0)]);
        let page = |len, kind| PageLayout { len, kind };
        assert_eq!(layout.pages, [page(96, Kind::Trained), page(104, running(0.9)), page(52, running(0.99))]);
        assert_eq!(layout.trained_pages().collect::<Vec<_>>(), [0]);
        assert_eq!((layout.page_name(0), layout.page_name(2)), ("parameters/0".to_string(), "running/2".to_string()));
    }
}
