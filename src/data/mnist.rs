//! MNIST, and what is distributed in its four files: Fashion-MNIST; KMNIST.

use super::{Dataset, idx};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Where to find the files, for the error of a user who hasn't got them.
const WHERE: &str = "the crate's repository has MNIST in examples/data/mnist; a program that has a `--data DIR` option takes \
                     another folder with the four files of the original distribution";

/// Reads the training set and the test set from the four files of the original distribution in folder `dir`, each plain or
/// gzipped with `.gz` at the end of its name: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`,
/// `t10k-labels-idx1-ubyte`. Images are u8 `[n, h, w, 1]` (28 by 28 in MNIST), classes 10.
///
/// Yann LeCun, Corinna Cortes, Christopher J.C. Burges, "The MNIST database of handwritten digits".
///
/// # Errors
///
/// [`Error::File`] for a missing folder or file, and for a file that [`idx::read`] refuses; [`Error::Invalid`] if the counts of
/// images and labels differ or a label is above 9.
pub fn mnist(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset)> {
    parts(dir.as_ref(), "MNIST", ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"])
}

/// Reads Fashion-MNIST, 70,000 grey images of clothes, from files of the same names as [`mnist`]'s.
///
/// H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017.
///
/// # Errors
///
/// As for [`mnist`].
pub fn fashion_mnist(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset)> {
    let names = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
    parts(dir.as_ref(), "Fashion-MNIST", names)
}

fn parts(dir: &Path, name: &str, classes: [&str; 10]) -> Result<(Dataset, Dataset)> {
    if !dir.is_dir() {
        return Err(Error::file(dir, format!("there is no such folder; {WHERE}")));
    }
    let part = |prefix: &str, which: &str| {
        let name = format!("{name} {which} set");
        let images = find(dir, &format!("{prefix}-images-idx3-ubyte"))?;
        let labels = find(dir, &format!("{prefix}-labels-idx1-ubyte"))?;
        let data = Dataset::new(idx::read_images(images)?, idx::read_labels(labels)?, 10).map_err(|e| e.at(&name))?;
        data.named(name).named_classes(classes)
    };
    Ok((part("train", "training")?, part("t10k", "test")?))
}

fn find(dir: &Path, name: &str) -> Result<PathBuf> {
    let (plain, zipped) = (dir.join(name), dir.join(format!("{name}.gz")));
    if plain.exists() {
        Ok(plain)
    } else if zipped.exists() {
        Ok(zipped)
    } else {
        Err(Error::file(plain, format!("neither this file nor {name}.gz is there; {WHERE}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/mnist")
    }

    #[test]
    fn the_shipped_files() {
        let (train, test) = mnist(shipped()).unwrap();
        assert_eq!((train.len(), test.len()), (60_000, 10_000));
        assert_eq!(train.labels()[..5], [5, 0, 4, 1, 9]);
        assert_eq!(test.labels()[..5], [7, 2, 1, 0, 4]);
        assert_eq!((train.name(), test.name()), ("MNIST training set", "MNIST test set"));
        assert_eq!(train.class_names()[7], "7");
        let (clothes, _) = fashion_mnist(shipped()).unwrap();
        assert_eq!((clothes.name(), &*clothes.class_names()[9]), ("Fashion-MNIST training set", "Ankle boot"));
        for set in [&train, &test] {
            assert_eq!(set.images().unwrap().dtype(), DType::U8);
            assert_eq!(set.image_shape().dims(), [28, 28, 1]);
            assert_eq!(set.classes(), 10);
        }
        // The mean of the training pixels is the 0.1307 that every MNIST tutorial normalises with.
        let sum: u64 = train.images().unwrap().as_u8().unwrap().iter().map(|&x| u64::from(x)).sum();
        let mean = sum as f64 / (255.0 * 784.0 * 60_000.0);
        assert!((mean - 0.1306604762738429).abs() < 1e-12, "{mean}");
    }

    #[test]
    fn missing_folder_and_file_say_where_to_look() {
        let dir = std::env::temp_dir().join(format!("striate-mnist-{}", std::process::id()));
        let error = mnist(&dir).unwrap_err().to_string();
        assert!(error.contains("no such folder") && error.contains("examples/data/mnist"), "{error}");

        std::fs::create_dir_all(&dir).unwrap();
        let name = "train-images-idx3-ubyte";
        let first = mnist(&dir).unwrap_err().to_string();
        std::fs::copy(shipped().join("t10k-images-idx3-ubyte.gz"), dir.join(format!("{name}.gz"))).unwrap();
        let second = mnist(&dir).unwrap_err().to_string();
        std::fs::copy(shipped().join("train-labels-idx1-ubyte.gz"), dir.join("train-labels-idx1-ubyte.gz")).unwrap();
        let third = mnist(&dir).unwrap_err().to_string();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(first.contains(&format!("{name}.gz")) && first.contains("--data DIR"), "{first}");
        assert!(second.contains("train-labels-idx1-ubyte.gz is there"), "{second}");
        assert!(third.contains("MNIST training set") && third.contains("60000") && third.contains("10000"), "{third}");
    }
}
