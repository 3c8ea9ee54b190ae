//! IDX, the format of MNIST and its relatives (Fashion-MNIST, KMNIST, EMNIST): two zero bytes, a byte for the element type, a byte for
//! the number of dimensions, a big-endian u32 a dimension, then the elements, row-major. Here: unsigned bytes of 1 to 4 dimensions,
//! plain or gzipped. The format is described on the MNIST page (Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database").

use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

/// The first two bytes of a gzip file (RFC 1952, section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Most dimensions of a file that [`read`] takes.
const MAX_RANK: u8 = 4;

/// Reads an IDX file of unsigned bytes, 1 to 4 dimensions, into a u8 tensor of the file's shape. Gzip is recognised by its first bytes,
/// whatever the file's name.
///
/// # Errors
///
/// [`Error::File`] if the file is missing or unreadable, is no IDX, has another element type, is cut short or corrupt, has bytes after
/// its elements, or claims a dimension of 0 or more elements than a tensor may have. Memory is allocated for what is there, not
/// for what the header claims.
pub fn read(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let fail = |message: String| Error::file(path, message);
    let mut file = BufReader::new(File::open(path).map_err(|e| fail(format!("can't open the file: {e}")))?);
    let start = read_at_most(&mut file, GZIP_MAGIC.len()).map_err(|e| fail(format!("can't read the file: {e}")))?;
    if start == GZIP_MAGIC {
        parse(MultiGzDecoder::new(start.chain(file)), &explain_gzip).map_err(fail)
    } else {
        parse(start.chain(file), &|e| format!("can't read the file: {e}")).map_err(fail)
    }
}

/// Reads an IDX file of `[n, h, w]` bytes into a u8 tensor `[n, h, w, 1]`, the layout of [`Dataset`](super::Dataset).
///
/// # Errors
///
/// Those of [`read`], and [`Error::File`] for a file that hasn't 3 dimensions.
pub fn read_images(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let images = read(path)?;
    let &[n, h, w] = images.shape().dims() else {
        return Err(Error::file(path, format!("images have 3 dimensions [n, h, w], this file has shape {}", images.shape())));
    };
    images.reshaped([n, h, w, 1])
}

/// Reads an IDX file of `[n]` bytes: the class index of each sample.
///
/// # Errors
///
/// Those of [`read`], and [`Error::File`] for a file that hasn't 1 dimension.
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<u32>> {
    let path = path.as_ref();
    let labels = read(path)?;
    if labels.shape().rank() != 1 {
        return Err(Error::file(path, format!("labels have 1 dimension [n], this file has shape {}", labels.shape())));
    }
    Ok(labels.as_u8()?.iter().map(|&label| u32::from(label)).collect())
}

fn explain_gzip(e: std::io::Error) -> String {
    match e.kind() {
        ErrorKind::UnexpectedEof => "the gzip stream is cut short; the file may be half downloaded".to_string(),
        _ => format!("the gzip stream is corrupt ({e})"),
    }
}

/// Up to `n` bytes: fewer only where the reader ends. Grows with what arrives, so a large `n` alone allocates nothing.
fn read_at_most(reader: &mut impl Read, n: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(n as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

/// Reads the (decompressed) IDX. The error is the message of an [`Error::File`].
fn parse(mut reader: impl Read, explain: &dyn Fn(std::io::Error) -> String) -> Result<Tensor, String> {
    let magic = read_at_most(&mut reader, 4).map_err(explain)?;
    let &[0, 0, element, rank] = magic.as_slice() else {
        let got = if magic.is_empty() { "it is empty".to_string() } else { format!("it starts with bytes {}", hex(&magic)) };
        return Err(format!(
            "not an IDX file: {got}, and IDX starts with 00 00, element type (08 for bytes), number of dimensions"
        ));
    };
    match element {
        0x08 => {}
        0x09 | 0x0b..=0x0e => {
            let name = ["i8", "", "i16", "i32", "f32", "f64"][usize::from(element - 0x09)];
            return Err(format!("its elements are {name} (IDX type {element:02x}); only unsigned bytes (type 08) are read"));
        }
        _ => return Err(format!("IDX has no element type {element:02x}; unsigned bytes are type 08")),
    }
    if !(1..=MAX_RANK).contains(&rank) {
        return Err(format!("its header says {rank} dimensions; 1 to {MAX_RANK} are read"));
    }
    let header = read_at_most(&mut reader, 4 * usize::from(rank)).map_err(explain)?;
    if header.len() < 4 * usize::from(rank) {
        let (want, got) = (4 + 4 * usize::from(rank), 4 + header.len());
        return Err(format!("cut short: the header of {rank} dimensions takes {want} bytes, the file has {got}"));
    }
    let dims: Vec<usize> = header.chunks_exact(4).map(|b| b.iter().fold(0u32, |v, &b| v << 8 | u32::from(b)) as usize).collect();
    let shape = Shape::new(dims).checked("shape in the header").map_err(|e| e.to_string())?;
    let want = shape.elements();
    // One byte more than wanted shows whether anything follows; for gzip it also reaches the checksum at the end.
    let elements = read_at_most(&mut reader, want + 1).map_err(explain)?;
    if elements.len() < want {
        return Err(format!("cut short: shape {shape} takes {want} bytes after the header, the file has {}", elements.len()));
    }
    if elements.len() > want {
        return Err(format!("bytes follow the {want} elements of shape {shape}: the header or the file is wrong"));
    }
    Tensor::u8(shape, elements).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;
    use std::path::PathBuf;

    fn idx(element: u8, dims: &[u32], elements: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, element, dims.len() as u8];
        dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend(elements);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A file that is gone when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, bytes: &[u8]) -> Scratch {
            let path = std::env::temp_dir().join(format!("striate-idx-{}-{name}", std::process::id()));
            std::fs::write(&path, bytes).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    /// The error of reading these bytes, which names the file.
    fn error(name: &str, bytes: &[u8]) -> String {
        let file = Scratch::new(name, bytes);
        let error = read(&file.0).unwrap_err();
        assert!(matches!(&error, Error::File { path, .. } if *path == file.0), "{error}");
        error.to_string()
    }

    #[test]
    fn every_rank_plain_and_gzipped() {
        let elements: Vec<u8> = (0..24).map(|i| i * 10).collect();
        for (i, dims) in [&[24][..], &[4, 6], &[2, 3, 4], &[2, 3, 2, 2]].into_iter().enumerate() {
            let bytes = idx(8, dims, &elements);
            for (name, bytes) in [("plain.gz", bytes.clone()), ("zipped", gzip(&bytes))] {
                let file = Scratch::new(&format!("rank{i}-{name}"), &bytes);
                let tensor = read(&file.0).unwrap();
                assert_eq!(tensor.as_u8().unwrap(), elements);
                assert!(tensor.shape().dims().iter().zip(dims).all(|(&a, &b)| a == b as usize));
                assert_eq!(tensor.shape().rank(), dims.len());
            }
        }
    }

    #[test]
    fn images_and_labels_check_the_rank() {
        let file = Scratch::new("images", &idx(8, &[2, 3, 1], &[1, 2, 3, 4, 5, 6]));
        assert_eq!(read_images(&file.0).unwrap().shape().dims(), [2, 3, 1, 1]);
        assert!(read_labels(&file.0).unwrap_err().to_string().contains("shape [2, 3, 1]"));
        let file = Scratch::new("labels", &idx(8, &[3], &[7, 0, 255]));
        assert_eq!(read_labels(&file.0).unwrap(), [7, 0, 255]);
        assert!(read_images(&file.0).unwrap_err().to_string().contains("3 dimensions"));
    }

    #[test]
    fn missing_files_and_folders() {
        let missing = std::env::temp_dir().join("striate-no-such-file");
        let error = read(&missing).unwrap_err();
        assert!(matches!(&error, Error::File { path, .. } if *path == missing));
        assert!(read(std::env::temp_dir()).is_err());
    }

    #[test]
    fn what_is_no_idx_says_what_it_is() {
        assert!(error("empty", &[]).contains("it is empty"));
        assert!(error("png", b"\x89PNG\r\n").contains("89 50 4e 47"));
        assert!(error("short-magic", &[0, 0, 8]).contains("00 00 08,"));
        assert!(error("twice", &gzip(&gzip(&idx(8, &[1], &[1])))).contains("1f 8b"));
        assert!(error("f32", &idx(0x0d, &[1], &[0; 4])).contains("f32"));
        assert!(error("i16", &idx(0x0b, &[1], &[0; 2])).contains("i16"));
        assert!(error("i8", &idx(0x09, &[1], &[0])).contains("i8"));
        assert!(error("type-0a", &idx(0x0a, &[1], &[0])).contains("no element type 0a"));
        assert!(error("rank-0", &idx(8, &[], &[0])).contains("0 dimensions"));
        assert!(error("rank-5", &idx(8, &[1; 5], &[0])).contains("5 dimensions"));
    }

    #[test]
    fn wrong_lengths_are_counted() {
        let elements = [5; 6];
        for zip in [false, true] {
            let make = |bytes: Vec<u8>| if zip { gzip(&bytes) } else { bytes };
            let error = |name: &str, bytes: Vec<u8>| error(&format!("{name}-{zip}"), &make(bytes));
            let short = error("short", idx(8, &[2, 4], &elements));
            assert!(short.contains("takes 8 bytes") && short.contains("has 6"), "{short}");
            let header = error("header", idx(8, &[2, 3, 4], &[])[..9].to_vec());
            assert!(header.contains("takes 16 bytes") && header.contains("has 9"), "{header}");
            let long = error("long", idx(8, &[5], &elements));
            assert!(long.contains("follow the 5 elements"), "{long}");
            let zero = error("zero", idx(8, &[0, 3], &[]));
            assert!(zero.contains("no dimension of 0"), "{zero}");
        }
    }

    #[test]
    fn a_huge_claim_allocates_nothing() {
        let overflow = error("overflow", &idx(8, &[u32::MAX; 4], &[1]));
        assert!(overflow.contains("at most"), "{overflow}");
        // A claim that a tensor could have, with one byte behind it.
        let large = error("large", &idx(8, &[i32::MAX as u32], &[1]));
        assert!(large.contains("takes 2147483647 bytes") && large.contains("has 1"), "{large}");
    }

    #[test]
    fn corrupt_gzip_is_found() {
        let whole = gzip(&idx(8, &[1000], &(0..1000).map(|i| (i * i % 251) as u8).collect::<Vec<_>>()));
        for cut in [2, 5, 20, whole.len() / 2, whole.len() - 1] {
            let error = error(&format!("cut-{cut}"), &whole[..cut]);
            assert!(error.contains("cut short"), "{cut}: {error}");
        }
        let mut checksum = whole.clone();
        let at = whole.len() - 8;
        checksum[at] ^= 1;
        let error_text = error("checksum", &checksum);
        assert!(error_text.contains("corrupt"), "{error_text}");
        let mut middle = whole.clone();
        middle[whole.len() / 2] ^= 0x55;
        assert!(read(&Scratch::new("middle", &middle).0).is_err());
    }
}
