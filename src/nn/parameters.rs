//! Where parameters lie: next to each other in pages, each no larger than what the device can bind, so that one dispatch updates a page.

use super::Init;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::{PAGE_ALIGNMENT, Value};
use crate::ops::view::View;
use crate::tensor::{MAX_ELEMENTS, Shape, TensorType};

/// What a layer asked for.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub name: String,
    pub shape: Shape,
    pub init: Init,
}

/// A parameter and its place.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub name: String,
    pub shape: Shape,
    pub init: Init,
    pub page: usize,
    pub offset: usize,
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
    /// Fills pages of at most `max_bytes` in order. A parameter that is larger gets a page of its own.
    pub fn new(declared: Vec<Declared>, max_bytes: u64) -> Layout {
        let limit = usize::try_from(max_bytes / 4).unwrap_or(usize::MAX).min(MAX_ELEMENTS);
        let mut pages: Vec<usize> = Vec::new();
        let mut parameters = Vec::with_capacity(declared.len());
        for Declared { name, shape, init } in declared {
            let len = shape.elements();
            let at = pages.last().map(|end| end.next_multiple_of(PAGE_ALIGNMENT)).filter(|at| at + len <= limit);
            let offset = at.unwrap_or(0);
            if at.is_none() {
                pages.push(0);
            }
            if let Some(end) = pages.last_mut() {
                *end = offset + len;
            }
            parameters.push(Parameter { name, shape, init, page: pages.len() - 1, offset });
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

/// Name of the state that holds a page of parameters.
pub(crate) fn page_name(page: usize) -> String {
    format!("parameters/{page}")
}

/// The pages as states of one graph, and the parameters' views of them.
#[derive(Debug)]
pub(crate) struct Pages {
    layout: Layout,
    pages: Vec<Option<Value>>,
    views: Vec<Option<Value>>,
}

impl Pages {
    pub fn new(layout: Layout) -> Pages {
        Pages { pages: vec![None; layout.pages.len()], views: vec![None; layout.parameters.len()], layout }
    }

    /// The view of a parameter that was declared under this name with this shape.
    pub fn view(&mut self, graph: &mut Graph, name: &str, shape: &Shape) -> Result<Value> {
        let Some(i) = self.layout.parameters.iter().position(|p| p.name == name && p.shape == *shape) else {
            let known: Vec<String> = self.layout.parameters.iter().map(|p| format!("{} {}", p.name, p.shape)).collect();
            return Err(Error::invalid("parameter", format!("{name} {shape}"), format!("one of {}", known.join(", "))));
        };
        if let Some(view) = self.views[i] {
            return Ok(view);
        }
        let parameter = &self.layout.parameters[i];
        let page = self.page(graph, parameter.page)?;
        let parameter = &self.layout.parameters[i];
        let view = graph.node(View { offset: parameter.offset, shape: parameter.shape.clone() }, &[page])?;
        self.views[i] = Some(view);
        Ok(view)
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

    /// The parameters of a page that the graph reads, with their views.
    pub fn views_of(&self, page: usize) -> Vec<(&Parameter, Value)> {
        let all = self.layout.parameters.iter().zip(&self.views);
        all.filter(|(p, _)| p.page == page).filter_map(|(p, v)| Some((p, (*v)?))).collect()
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
        lens.iter().map(|&len| Declared { name: format!("l{len}/w"), shape: [len].into(), init: Init::Zeros }).collect()
    }

    fn places(lens: &[usize], max_elements: u64) -> (Vec<(usize, usize)>, Vec<usize>) {
        let layout = Layout::new(declare(lens), 4 * max_elements);
        (layout.parameters.iter().map(|p| (p.page, p.offset)).collect(), layout.pages)
    }

    #[test]
    fn parameters_fill_pages_in_order_at_aligned_offsets() {
        assert_eq!(places(&[288, 32, 65, 1], 1 << 20), (vec![(0, 0), (0, 320), (0, 384), (0, 512)], vec![516]));
        assert_eq!(places(&[100, 100, 100], 256), (vec![(0, 0), (0, 128), (1, 0)], vec![228, 100]));
        // One that is larger than a page has its own, and the next starts another.
        assert_eq!(places(&[10, 1000, 10], 256), (vec![(0, 0), (1, 0), (2, 0)], vec![12, 1000, 12]));
        assert_eq!(places(&[255, 5], 255).1, vec![255, 8]);
        assert_eq!(places(&[], 256), (vec![], vec![]));
    }
}
