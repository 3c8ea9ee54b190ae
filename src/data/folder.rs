//! Data sets of photos: a folder with a sub folder for each class, or a CSV file with the class of each photo.

use super::decode::{check_photo, read_pixels};
use super::lazy::on_threads;
use super::{Dataset, LazyImages, PhotoFormat, Resize};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// Photos in a sub folder of `dir` for each class, as `cat/1.jpg`: a data set with [`ImageFolder::open`] or [`ImageFolder::load`].
///
/// Classes are the sorted names of the sub folders, photos all JPEG and PNG files in them and in their sub folders, sorted by path; in colour and
/// stretched to 256 by 256 pixels unless told otherwise (as Keras's `image_dataset_from_directory` has it). Hidden files and folders are no part of
/// it; links are followed, but no folder is looked through twice. What is no photo by its content, has a broken header or too many pixels
/// ([`read_photo`](super::read_photo)) is left out and listed.
///
/// A sub folder without photos is a class all the same, so that the numbers of classes agree between the folders of a training and a test set; it is
/// listed in [`LeftOut`].
///
/// ```no_run
/// use striate::{Seed, data};
///
/// let (photos, left_out) = data::image_folder("photos").size(64, 64).load()?;
/// println!("{} photos of {:?}; {left_out}", photos.len(), photos.class_names());
/// let (train, validation) = photos.split_stratified(0.8, Seed(42))?;
/// # let _ = (train, validation);
/// # Ok::<(), striate::Error>(())
/// ```
pub fn image_folder(dir: impl Into<PathBuf>) -> ImageFolder {
    ImageFolder::of(dir.into(), None)
}

/// Photos that a CSV file lists, a line each, with paths below `root`. The first line has the names of the columns; the first column is the path and the
/// second the class unless [`ImageFolder::columns`] says otherwise (Keras's `flow_from_dataframe`). Classes are sorted, as numbers if all are numbers; photos
/// are in the order of the file. Else as [`image_folder`].
pub fn image_csv(csv: impl Into<PathBuf>, root: impl Into<PathBuf>) -> ImageFolder {
    ImageFolder::of(root.into(), Some(Csv { path: csv.into(), columns: None }))
}

#[derive(Clone, Debug)]
struct Csv {
    path: PathBuf,
    /// Names of the columns of paths and of classes.
    columns: Option<[String; 2]>,
}

/// A folder of photos that becomes a data set: what [`image_folder`] and [`image_csv`] make.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    root: PathBuf,
    csv: Option<Csv>,
    format: PhotoFormat,
    classes: Option<Vec<String>>,
}

/// What of a folder became no part of its data set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeftOut {
    /// Files, and why each was left out; sorted by path.
    pub files: Vec<(PathBuf, String)>,
    /// Classes that have no photo.
    pub empty_classes: Vec<String>,
}

impl LeftOut {
    /// Whether everything is in the data set and every class has photos.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.empty_classes.is_empty()
    }
}

/// The numbers, and the first few of each.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let shown = |all: &mut dyn Iterator<Item = String>, n: usize| {
            let some: Vec<String> = all.take(SHOWN).collect();
            if n > SHOWN { format!("{}; and {} more", some.join("; "), n - SHOWN) } else { some.join("; ") }
        };
        if self.is_empty() {
            return write!(f, "nothing left out");
        }
        if !self.files.is_empty() {
            let n = self.files.len();
            let mut files = self.files.iter().map(|(path, why)| format!("{}: {why}", path.display()));
            write!(f, "{n} file{} left out: {}", if n == 1 { "" } else { "s" }, shown(&mut files, n))?;
        }
        if !self.empty_classes.is_empty() {
            let n = self.empty_classes.len();
            let separator = if self.files.is_empty() { "" } else { "; " };
            let names = shown(&mut self.empty_classes.iter().cloned(), n);
            write!(f, "{separator}{n} class{} without photos: {names}", if n == 1 { "" } else { "es" })?;
        }
        Ok(())
    }
}

/// Photos by number.
#[derive(Debug)]
struct Files {
    paths: Vec<PathBuf>,
    format: PhotoFormat,
}

impl LazyImages for Files {
    fn read(&self, i: usize) -> Result<Vec<u8>> {
        read_pixels(&self.paths[i], &self.format)
    }

    fn name(&self, i: usize) -> String {
        self.paths[i].display().to_string()
    }
}

/// What a folder was found to hold.
struct Found {
    classes: Vec<String>,
    photos: Vec<(PathBuf, u32)>,
    left_out: LeftOut,
}

impl ImageFolder {
    fn of(root: PathBuf, csv: Option<Csv>) -> ImageFolder {
        ImageFolder { root, csv, format: PhotoFormat::new(256, 256), classes: None }
    }

    /// Brings photos to this size.
    pub fn size(mut self, height: usize, width: usize) -> ImageFolder {
        (self.format.height, self.format.width) = (height, width);
        self
    }

    /// How photos of other proportions are brought to them.
    pub fn resize(mut self, resize: Resize) -> ImageFolder {
        self.format.resize = resize;
        self
    }

    /// Makes photos grey, of one channel.
    pub fn grey(mut self) -> ImageFolder {
        self.format.channels = 1;
        self
    }

    /// Takes these classes in this order, as those of the training set for a folder of the test set. One that the folder hasn't is empty; one that isn't
    /// among them is an error.
    pub fn classes<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> ImageFolder {
        self.classes = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The names of a CSV file's columns: that of paths and that of classes.
    pub fn columns(mut self, path: impl Into<String>, class: impl Into<String>) -> ImageFolder {
        if let Some(csv) = &mut self.csv {
            csv.columns = Some([path.into(), class.into()]);
        }
        self
    }

    /// What photos are brought to.
    pub fn format(&self) -> PhotoFormat {
        self.format
    }

    /// A data set that reads a photo each time that a batch asks for it; in memory are their paths. Of every file the header is read now. A photo
    /// whose header is good and whose pixels turn out to be broken later has another of its class in its place ([`Dataset::lazy`]).
    ///
    /// # Errors
    /// [`Error::File`] for a folder or CSV file that can't be read, for one with less than two classes that have photos (with given
    /// [`ImageFolder::classes`] for one without any photo), and a class that isn't among those given; [`Error::Invalid`] for a format that
    /// [`PhotoFormat::check`] refuses and for classes given twice.
    pub fn open(&self) -> Result<(Dataset, LeftOut)> {
        let Found { classes, photos, left_out } = self.find()?;
        let (paths, labels) = photos.into_iter().unzip();
        let shape = [self.format.height, self.format.width, self.format.channels];
        let data = Dataset::lazy(Files { paths, format: self.format }, shape, labels, classes.len())?;
        self.finish(data, classes, left_out)
    }

    /// A data set of all photos in memory. What can't be read is left out.
    ///
    /// # Errors
    /// As for [`ImageFolder::open`]; [`Error::Invalid`] also if the photos have more bytes together than a tensor may have.
    pub fn load(&self) -> Result<(Dataset, LeftOut)> {
        let Found { classes, photos, mut left_out } = self.find()?;
        let shape = |n: usize| self.format.shape().with_batch(n).checked("photos in memory");
        shape(photos.len()).map_err(|e| e.at(&self.name()))?;
        let read = on_threads(photos.len(), |i| read_pixels(&photos[i].0, &self.format));
        let (mut pixels, mut kept) = (Vec::new(), Vec::new());
        for (photo, result) in photos.into_iter().zip(read) {
            match result {
                Ok(bytes) => {
                    pixels.extend(bytes);
                    kept.push(photo);
                }
                Err(Error::File { path, message }) => left_out.files.push((path, message)),
                Err(e) => return Err(e),
            }
        }
        left_out.files.sort();
        let found = self.checked(Found { classes, photos: kept, left_out })?;
        let labels: Vec<u32> = found.photos.iter().map(|(_, label)| *label).collect();
        let images = Tensor::u8(shape(labels.len())?, pixels)?;
        let data = Dataset::new(images, labels, found.classes.len())?;
        self.finish(data, found.classes, found.left_out)
    }

    fn name(&self) -> String {
        self.csv.as_ref().map_or(&self.root, |csv| &csv.path).display().to_string()
    }

    fn finish(&self, data: Dataset, classes: Vec<String>, left_out: LeftOut) -> Result<(Dataset, LeftOut)> {
        if !left_out.is_empty() {
            log::warn!("{}: {left_out}", self.name());
        }
        Ok((data.named(self.name()).named_classes(classes)?, left_out))
    }

    /// The photos whose headers are good, and their classes.
    fn find(&self) -> Result<Found> {
        self.format.check()?;
        if let Some(names) = &self.classes
            && let Some(twice) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name))
        {
            return Err(Error::invalid("classes", format!("'{}' twice", twice.1), "each once"));
        }
        if !self.root.is_dir() {
            return Err(Error::file(&self.root, "there is no such folder"));
        }
        let mut found = match &self.csv {
            Some(csv) => self.list_csv(csv)?,
            None => self.list_folder()?,
        };
        let checked = on_threads(found.photos.len(), |i| check_photo(&found.photos[i].0));
        let mut good = Vec::new();
        for (photo, result) in found.photos.into_iter().zip(checked) {
            match result {
                Ok(()) => good.push(photo),
                Err(why) => found.left_out.files.push((photo.0, why)),
            }
        }
        found.left_out.files.sort();
        self.checked(Found { photos: good, ..found })
    }

    /// Fails unless there are photos of two classes; notes the classes that have none.
    fn checked(&self, mut found: Found) -> Result<Found> {
        let with_photos: BTreeSet<u32> = found.photos.iter().map(|(_, label)| *label).collect();
        let place = self.csv.as_ref().map_or(&self.root, |csv| &csv.path);
        match with_photos.first() {
            None => Err(Error::file(place, format!("it has no photos; {}", found.left_out))),
            Some(&only) if with_photos.len() == 1 && self.classes.is_none() => {
                let (n, class) = (found.photos.len(), &found.classes[only as usize]);
                let message = format!("all its {n} photos are of one class, '{class}'; want two classes or more with photos");
                Err(Error::file(
                    place,
                    if found.left_out.files.is_empty() { message } else { format!("{message}; {}", found.left_out) },
                ))
            }
            Some(_) => {
                let empty = (0u32..).zip(&found.classes).filter(|(label, _)| !with_photos.contains(label));
                found.left_out.empty_classes = empty.map(|(_, name)| name.clone()).collect();
                Ok(found)
            }
        }
    }

    /// Photos with the names of their classes as numbered classes.
    fn number(&self, photos: Vec<(PathBuf, String)>, names: BTreeSet<String>, left_out: LeftOut) -> Result<Found> {
        let classes = match &self.classes {
            Some(given) => {
                if let Some(other) = names.iter().find(|name| !given.contains(name)) {
                    let message = format!("it has a class '{other}', want one of: {}", given.join(", "));
                    return Err(Error::file(self.name(), message));
                }
                given.clone()
            }
            None => {
                let mut names: Vec<String> = names.into_iter().collect();
                if self.csv.is_some() && names.iter().all(|name| name.parse::<f64>().is_ok_and(f64::is_finite)) {
                    names.sort_by(|a, b| a.parse().unwrap_or(0.0f64).total_cmp(&b.parse().unwrap_or(0.0)));
                }
                names
            }
        };
        let label = |name: &str| classes.iter().position(|class| class == name).unwrap_or_default() as u32;
        let photos = photos.into_iter().map(|(path, name)| (path, label(&name))).collect();
        Ok(Found { classes, photos, left_out })
    }

    fn list_folder(&self) -> Result<Found> {
        let (folders, _) = entries(&self.root).map_err(|e| Error::file(&self.root, e))?;
        if folders.is_empty() {
            return Err(Error::file(&self.root, "it has no sub folders; want one for each class with its photos, as cat/1.jpg"));
        }
        let (mut photos, mut names, mut left_out) = (Vec::new(), BTreeSet::new(), LeftOut::default());
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Links may lead back to a folder that they lie in.
            let mut seen: HashSet<PathBuf> = self.root.canonicalize().into_iter().collect();
            let mut folders = vec![folder];
            while let Some(at) = folders.pop() {
                let listed = at.canonicalize().and_then(|canonical| match seen.insert(canonical) {
                    true => entries(&at),
                    false => Err(std::io::Error::other("it leads to a folder that was looked through before")),
                });
                match listed {
                    Ok((inner, files)) => {
                        folders.extend(inner);
                        photos.extend(files.into_iter().map(|file| (file, name.clone())));
                    }
                    Err(e) => left_out.files.push((at, e.to_string())),
                }
            }
            names.insert(name);
        }
        // By class and path: sub folders come in another order.
        photos.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
        self.number(photos, names, left_out)
    }

    fn list_csv(&self, Csv { path, columns }: &Csv) -> Result<Found> {
        let error = |e: csv::Error| Error::file(path, e);
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(error)?;
        let headers = reader.headers().map_err(error)?.clone();
        let column = |name: &str| {
            let all: Vec<&str> = headers.iter().collect();
            let none = || Error::file(path, format!("it has no column '{name}', want one of: {}", all.join(", ")));
            headers.iter().position(|header| header == name).ok_or_else(none)
        };
        let [of_path, of_class] = match columns {
            Some([photo, class]) => [column(photo)?, column(class)?],
            None if headers.len() >= 2 => [0, 1],
            None => {
                return Err(Error::file(
                    path,
                    "its first line has less than two columns, want the path of a photo and its class",
                ));
            }
        };
        let (mut photos, mut names, mut left_out) = (Vec::new(), BTreeSet::new(), LeftOut::default());
        for record in reader.records() {
            let record = record.map_err(error)?;
            let line = record.position().map_or(0, csv::Position::line);
            match (record.get(of_path).unwrap_or_default(), record.get(of_class).unwrap_or_default()) {
                ("", _) => left_out.files.push((path.clone(), format!("line {line} names no photo"))),
                (photo, "") => left_out.files.push((self.root.join(photo), format!("line {line} names no class"))),
                (photo, class) => {
                    photos.push((self.root.join(photo), class.to_string()));
                    names.insert(class.to_string());
                }
            }
        }
        self.number(photos, names, left_out)
    }
}

/// What a folder holds that isn't hidden: folders, and what else there is; links are what they lead to.
fn entries(folder: &Path) -> std::io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all.into_iter().partition(|path| path.is_dir()))
}
