//! Photos and folders of them: pixels as Pillow has them, and what is no photo, or a trap.
#![cfg(feature = "photos")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests may stop at what they don't expect.
#![allow(unsafe_code)] // An allocator that counts.

use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use striate::data::{self, Dataset, ImageFolder, LeftOut, PhotoFormat, Resize};

/// Counts the most bytes that a thread took at once, so that tests can run side by side.
struct Counting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is done by the system's allocator, as it was asked.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: as the caller holds it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller holds it.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A folder of this test, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("striate-photos-{}-{name}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A photo of one colour.
    fn photo(&self, name: &str, colour: u8) -> PathBuf {
        self.file(name, &encoded(RgbImage::from_pixel(9, 7, Rgb([colour; 3])), ImageFormat::Png))
    }

    fn open(&self) -> ImageFolder {
        data::image_folder(&self.0).size(4, 4)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn encoded(photo: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    photo.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// 23 rows of 37 pixels whose channels change at their own pace; the references were made of it by Pillow 13's `resize` with `BILINEAR`.
fn pattern() -> RgbImage {
    RgbImage::from_fn(37, 23, |x, y| {
        let check = if (x / 4 + y / 4) % 2 == 0 { 0 } else { 255 };
        Rgb([(7 * x + 3 * y) as u8, (x * x + 5 * y) as u8, check])
    })
}

fn decode(bytes: &[u8], format: PhotoFormat) -> Vec<u8> {
    let photo = data::decode_photo(bytes, &format).unwrap();
    assert_eq!(photo.shape(), &format.shape());
    photo.as_u8().unwrap().to_vec()
}

#[track_caller]
fn close(got: &[u8], want: &[u8], most: u8) {
    assert_eq!(got.len(), want.len());
    let worst = got.iter().zip(want).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= most, "{worst}: {got:?} {want:?}");
}

const STRETCHED: &[u8] = &[
    36, 37, 122, 83, 121, 127, 135, 125, 127, 187, 132, 127, 203, 116, 122, 51, 63, 126, 98, 136, 127, 150, 124, 127, 201, 128,
    127, 148, 131, 126, 69, 91, 130, 116, 145, 128, 168, 124, 128, 206, 132, 128, 83, 115, 130, 84, 117, 127, 131, 152, 127, 183,
    128, 127, 186, 127, 127, 50, 128, 127,
];
const GREY: &[u8] = &[45, 97, 130, 139, 150, 140, 72, 122, 130, 147, 149, 116, 98, 142, 133, 152, 139, 101];
const ENLARGED: &[u8] = &[
    16, 26, 255, 22, 27, 255, 28, 29, 255, 35, 33, 255, 41, 39, 112, 47, 46, 0, 54, 55, 0, 60, 65, 0, 66, 78, 44, 73, 91, 255,
    79, 107, 255, 85, 124, 255,
];
const CROPPED: &[u8] = &[
    64, 82, 90, 91, 160, 161, 117, 105, 100, 145, 140, 149, 171, 121, 114, 198, 127, 132, 75, 99, 154, 102, 173, 104, 128, 111,
    147, 156, 144, 112, 182, 122, 137, 209, 140, 125, 86, 118, 101, 113, 176, 151, 139, 94, 108, 167, 145, 143, 193, 113, 118,
    220, 116, 130, 98, 138, 153, 125, 167, 105, 151, 88, 146, 179, 157, 113, 205, 127, 136, 226, 121, 125, 109, 157, 104, 136,
    161, 148, 162, 98, 110, 190, 141, 141, 216, 128, 119, 201, 132, 130, 120, 174, 148, 147, 143, 109, 173, 106, 143, 201, 154,
    116, 227, 123, 135, 138, 121, 125,
];
const PADDED: &[u8] = &[
    23, 19, 89, 52, 56, 148, 84, 137, 118, 117, 122, 123, 149, 135, 144, 182, 128, 104, 214, 117, 153, 205, 115, 93, 35, 40, 148,
    64, 77, 117, 96, 154, 133, 129, 121, 130, 161, 133, 119, 194, 127, 140, 223, 131, 114, 121, 136, 146, 49, 63, 116, 78, 100,
    134, 110, 165, 125, 143, 105, 126, 175, 144, 132, 208, 122, 121, 200, 128, 135, 52, 123, 117, 63, 86, 126, 92, 123, 129, 124,
    171, 127, 157, 103, 127, 189, 134, 128, 220, 136, 126, 139, 121, 129, 31, 112, 126, 75, 107, 140, 104, 144, 121, 136, 168,
    131, 169, 107, 129, 201, 141, 122, 217, 124, 135, 68, 131, 119, 39, 132, 139,
];
const CAT: &[u8] = &[
    56, 64, 49, 88, 99, 81, 118, 127, 108, 109, 115, 96, 71, 80, 62, 71, 77, 61, 93, 89, 70, 117, 104, 81, 127, 119, 96, 79, 86,
    68, 72, 76, 62, 71, 67, 48, 93, 75, 49, 86, 80, 59, 73, 77, 59, 31, 36, 25, 37, 40, 29, 45, 45, 31, 39, 43, 29, 34, 39, 26,
];

#[test]
fn pixels_are_those_of_pillow() {
    let png = encoded(pattern(), ImageFormat::Png);
    let as_is = PhotoFormat::new(23, 37);
    assert_eq!(decode(&png, as_is), pattern().into_raw());
    close(&decode(&png, PhotoFormat::new(4, 5)), STRETCHED, 1);
    close(&decode(&png, PhotoFormat { channels: 1, ..PhotoFormat::new(3, 6) }), GREY, 1);
    close(&decode(&png, PhotoFormat::new(30, 41))[7 * 41 * 3..][..36], ENLARGED, 1);
    close(&decode(&png, PhotoFormat { resize: Resize::Crop, ..PhotoFormat::new(6, 6) }), CROPPED, 1);
    // 8 of 8 columns, and 5 of 8 rows in the middle.
    let padded = decode(&png, PhotoFormat { resize: Resize::Pad, ..PhotoFormat::new(8, 8) });
    close(&padded[24..144], PADDED, 1);
    assert!(padded[..24].iter().chain(&padded[144..]).all(|&v| v == 0));
    // Two decoders of JPEG differ by some steps in a pixel, by less in a mean of many.
    let cat = data::read_photo("examples/data/pets/cat/abyssinian_1.jpg", &PhotoFormat::new(4, 5)).unwrap();
    close(cat.as_u8().unwrap(), CAT, 2);
}

#[test]
fn one_pixel_and_one_line_come_to_any_size() {
    for (w, h) in [(1, 1), (1, 300), (300, 1), (3, 2)] {
        let png = encoded(RgbImage::from_pixel(w, h, Rgb([9, 90, 200])), ImageFormat::Png);
        for resize in [Resize::Stretch, Resize::Crop] {
            for (height, width) in [(1, 1), (5, 3), (64, 2)] {
                let pixels = decode(&png, PhotoFormat { resize, ..PhotoFormat::new(height, width) });
                assert!(pixels.chunks(3).all(|p| p == [9, 90, 200]), "{w} {h} {resize:?} {height} {width}");
            }
        }
        let padded = decode(&png, PhotoFormat { resize: Resize::Pad, ..PhotoFormat::new(6, 5) });
        assert!(padded.chunks(3).any(|p| p == [9, 90, 200]) && padded.chunks(3).all(|p| p == [9, 90, 200] || p == [0; 3]));
    }
}

#[test]
fn channels_are_those_of_the_file() {
    let of = |photo: DynamicImage, channels: usize| {
        decode(&encoded(photo, ImageFormat::Png), PhotoFormat { channels, ..PhotoFormat::new(1, 1) })
    };
    // Pillow: Image.new('RGB', (1, 1), (200, 100, 50)).convert('L') is 124.
    assert_eq!(of(RgbImage::from_pixel(1, 1, Rgb([200, 100, 50])).into(), 1), [124]);
    assert_eq!(of(GrayImage::from_pixel(1, 1, image::Luma([77])).into(), 3), [77; 3]);
    assert_eq!(of(GrayImage::from_pixel(1, 1, image::Luma([77])).into(), 1), [77]);
    assert_eq!(of(RgbaImage::from_pixel(1, 1, Rgba([200, 100, 50, 0])).into(), 3), [200, 100, 50]);
    assert_eq!(of(GrayAlphaImage::from_pixel(1, 1, LumaA([200, 3])).into(), 1), [200]);
    let wide: ImageBuffer<Rgb<u16>, Vec<u16>> = ImageBuffer::from_pixel(1, 1, Rgb([257 * 200, 100, 65_535]));
    assert_eq!(of(DynamicImage::ImageRgb16(wide), 3), [200, 0, 255]);
}

/// EXIF data with nothing but an orientation, as a JPEG's segment.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let tiff = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation], &[0; 6]].concat();
    let len = (2 + 6 + tiff.len()) as u16;
    [&jpeg[..2], &[0xff, 0xe1], &len.to_be_bytes(), b"Exif\0\0", &tiff, &jpeg[2..]].concat()
}

#[test]
fn photos_are_turned_upright() {
    let folder = Folder::new("orientation");
    let jpeg = encoded(pattern(), ImageFormat::Jpeg);
    let plain = image::load_from_memory(&jpeg).unwrap();
    let turned: [&dyn Fn() -> DynamicImage; 8] = [
        &|| plain.clone(),
        &|| plain.fliph(),
        &|| plain.rotate180(),
        &|| plain.flipv(),
        &|| plain.rotate90().fliph(),
        &|| plain.rotate90(),
        &|| plain.rotate270().fliph(),
        &|| plain.rotate270(),
    ];
    for (orientation, want) in (1..).zip(turned) {
        let (bytes, want) = (with_orientation(&jpeg, orientation), want());
        let path = folder.file("photo.jpg", &bytes);
        assert_eq!(data::open_photo(&path).unwrap().into_rgb8(), want.to_rgb8(), "{orientation}");
        let upright = encoded(want, ImageFormat::Png);
        for resize in [Resize::Stretch, Resize::Crop] {
            let format = PhotoFormat { resize, ..PhotoFormat::new(10, 12) };
            close(&decode(&bytes, format), &decode(&upright, format), 1);
        }
    }
    // What no camera writes is taken as upright.
    assert_eq!(data::open_photo(folder.file("photo.jpg", &with_orientation(&jpeg, 99))).unwrap().into_rgb8(), plain.to_rgb8());
}

/// A PNG whose header says this size, which its data don't bear out.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut png = encoded(RgbImage::new(1, 1), ImageFormat::Png);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, &byte: &u8| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    };
    !bytes.iter().fold(!0, step)
}

/// A JPEG whose frame says this size.
fn jpeg_header(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = encoded(RgbImage::new(8, 8), ImageFormat::Jpeg);
    let at = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

#[test]
fn what_is_no_photo_says_what_it_is() {
    let folder = Folder::new("no-photo");
    let format = PhotoFormat::new(8, 8);
    let error = |name: &str, bytes: &[u8]| {
        let path = folder.file(name, bytes);
        LARGEST.set(0);
        let error = data::read_photo(&path, &format).unwrap_err().to_string();
        assert!(LARGEST.get() < 4 << 20, "{name}: {} bytes", LARGEST.get());
        assert!(error.contains(name), "{error}");
        let of_bytes = data::decode_photo(bytes, &format).unwrap_err().to_string();
        assert!(of_bytes.contains(error.split_once(": ").unwrap().1), "{of_bytes}");
        error
    };
    let jpeg = encoded(pattern(), ImageFormat::Jpeg);
    let png = encoded(pattern(), ImageFormat::Png);
    for (name, bytes, want) in [
        ("empty.jpg", &b""[..], "it is empty"),
        ("text.png", b"not a picture at all", "it is no picture, want JPEG or PNG"),
        ("animated.jpg", b"GIF89a\x01\0\x01\0\0\0\0;", "it is GIF, want JPEG or PNG"),
        ("page.jpg", b"RIFF\x24\0\0\0WEBPVP8 ", "it is WEBP"),
        ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is HEIF"),
        ("bomb.png", &png_header(60_000, 60_000), "60000 x 60000 pixels, want at most 100000000"),
        ("bomb.jpg", &jpeg_header(65_535, 65_535), "65535 x 65535 pixels"),
        ("nothing.png", &png_header(0, 5), "0 x 5 pixels"),
        ("nothing.jpg", &jpeg_header(5, 0), "5 x 0 pixels"),
        ("start.png", &png[..20], "has no header"),
        ("start.jpg", &jpeg[..10], "its header is cut short"),
        ("frameless.jpg", &[0xff, 0xd8, 0xff, 0xd9], "has no frame"),
        ("end.jpg", &jpeg[..jpeg.len() - 200], "it is cut short"),
        ("end.png", &png[..png.len() - 200], "end.png"),
        // Within the limits, with data for a pixel.
        ("liar.png", &png_header(900, 900), "liar.png"),
    ] {
        let error = error(name, bytes);
        println!("{error}");
        assert!(error.contains(want), "{error}");
    }
    // A segment of zero bytes, over and over.
    let segments: Vec<u8> = [0xff, 0xd8].into_iter().chain([0xff, 0xe1, 0, 2].into_iter().cycle().take(400_000)).collect();
    assert!(error("segments.jpg", &segments).contains("has no frame"));
    let missing = data::read_photo(folder.0.join("missing.jpg"), &format).unwrap_err().to_string();
    assert!(missing.contains("missing.jpg"), "{missing}");
    assert!(data::read_photo(&folder.0, &format).unwrap_err().to_string().contains("it is a folder"));
    for bad in [PhotoFormat::new(0, 4), PhotoFormat::new(4, 16_385), PhotoFormat { channels: 2, ..format }] {
        assert!(
            data::decode_photo(&png, &bad).is_err()
                && data::image_folder("examples/data/pets").size(bad.height, 0).open().is_err()
        );
    }
}

/// Whatever byte of a photo is wrong: an error or some picture, and never more memory than a small photo's decoder takes.
#[test]
fn damaged_photos_are_errors_or_pictures() {
    let format = PhotoFormat::new(4, 4);
    for photo in [encoded(pattern(), ImageFormat::Jpeg), encoded(pattern(), ImageFormat::Png)] {
        let (mut good, mut bad) = (0, 0);
        for at in 0..photo.len() {
            let mut damaged = photo.clone();
            damaged[at] ^= 1 << (at % 8);
            LARGEST.set(0);
            match data::decode_photo(&damaged, &format) {
                Ok(_) => good += 1,
                Err(_) => bad += 1,
            }
            // A side of a JPEG may have become 64 times as long; its header is believed.
            assert!(LARGEST.get() < 512 << 20, "byte {at}: {}", LARGEST.get());
        }
        println!("{good} pictures, {bad} errors");
    }
}

fn pets() -> ImageFolder {
    data::image_folder("examples/data/pets").size(16, 16)
}

#[test]
fn a_folder_of_classes() {
    let (lazy, left_out) = pets().open().unwrap();
    assert!(left_out.is_empty() && lazy.is_lazy(), "{left_out}");
    assert_eq!((lazy.len(), lazy.classes(), lazy.name()), (40, 2, "examples/data/pets"));
    assert_eq!(lazy.class_names(), ["cat", "dog"]);
    assert_eq!(lazy.class_counts().unwrap(), [20, 20]);
    assert_eq!(lazy.labels(), [[0; 20], [1; 20]].concat());
    assert_eq!(lazy.image_shape().dims(), [16, 16, 3]);
    assert!(lazy.images().unwrap_err().to_string().contains("Dataset::load"));
    let (loaded, _) = pets().load().unwrap();
    assert!(!loaded.is_lazy() && loaded.class_names() == lazy.class_names());
    assert_eq!(lazy.load().unwrap(), loaded);
    let first = data::read_photo("examples/data/pets/cat/abyssinian_1.jpg", &pets().format()).unwrap();
    assert_eq!(&loaded.images().unwrap().as_u8().unwrap()[..768], first.as_u8().unwrap());
    // Parts read the same photos as the parts of what was read.
    let order = [39, 0, 7, 7];
    let (a, b) = (lazy.select(&order).unwrap(), loaded.select(&order).unwrap());
    assert!(a.is_lazy());
    assert_eq!((a.load().unwrap(), a.batch_images(&[2, 0]).unwrap()), (b.clone(), b.batch_images(&[2, 0]).unwrap()));
    let parts = |data: &Dataset| data.split_stratified(0.7, striate::Seed(5)).unwrap();
    assert_eq!((parts(&lazy).0.load().unwrap(), parts(&lazy).1.load().unwrap()), parts(&loaded));
    assert_eq!(lazy.channel_statistics().unwrap(), loaded.channel_statistics().unwrap());
    let grey = pets().grey().resize(Resize::Crop).load().unwrap().0;
    assert_eq!(grey.image_shape().dims(), [16, 16, 1]);
}

#[test]
fn what_is_left_out_is_counted_and_listed() {
    let folder = Folder::new("left-out");
    for (name, colour) in
        [("b/2.png", 20), ("b/1.jpg", 10), ("a/deep/er/3.png", 30), ("a/0.png", 0), ("a/.hidden.png", 1), (".git/x.png", 1)]
    {
        folder.photo(name, colour);
    }
    folder.photo("stray.png", 0);
    folder.file("a/animated.jpg", b"GIF89a\x01\0\x01\0\0\0\0;");
    folder.file("a/bomb.png", &png_header(60_000, 60_000));
    folder.file("b/notes.txt", b"meow");
    folder.file("c/.keep", b"");
    let photo = encoded(pattern(), ImageFormat::Png);
    let broken = folder.file("b/broken.png", &photo[..photo.len() / 2]);
    let (data, left_out) = folder.open().open().unwrap();
    assert_eq!(data.class_names(), ["a", "b", "c"]);
    assert_eq!(data.labels(), [0, 0, 1, 1, 1]);
    let names = |left_out: &LeftOut| -> Vec<String> {
        left_out.files.iter().map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(&left_out), ["animated.jpg", "bomb.png", "notes.txt"]);
    assert_eq!(left_out.empty_classes, ["c"]);
    let text = left_out.to_string();
    for part in ["3 files left out: ", "animated.jpg: it is GIF", "60000 x 60000", "1 class without photos: c"] {
        assert!(text.contains(part), "{text}");
    }
    // Read one by one, the broken one has the next of its class in its place, which is the first one.
    assert!(data.unreadable().is_empty());
    let pixels = data.load().unwrap();
    let firsts: Vec<u8> = pixels.images().unwrap().as_u8().unwrap().iter().step_by(48).copied().collect();
    assert_eq!(firsts, [0, 30, 10, 20, 10]);
    assert_eq!(data.unreadable().len(), 1);
    assert!(data.unreadable()[0].0.ends_with("broken.png"));
    // Read all at once, it is left out.
    let (loaded, left_out) = folder.open().load().unwrap();
    assert_eq!((loaded.labels(), left_out.files.len()), (&[0, 0, 1, 1][..], 4));
    assert!(left_out.files.iter().any(|(path, _)| *path == broken));
    // With the classes of another folder.
    let (data, left_out) = folder.open().classes(["c", "b", "a", "d"]).open().unwrap();
    assert_eq!((data.labels(), data.classes()), (&[2, 2, 1, 1, 1][..], 4));
    assert_eq!(left_out.empty_classes, ["c", "d"]);
    let error = folder.open().classes(["a", "b"]).open().unwrap_err().to_string();
    assert!(error.contains("a class 'c', want one of: a, b"), "{error}");
    assert!(folder.open().classes(["a", "a"]).open().unwrap_err().to_string().contains("'a' twice"));
}

#[test]
fn folders_that_are_none_say_so() {
    let folder = Folder::new("none");
    let error = || folder.open().open().unwrap_err().to_string();
    assert!(data::image_folder(folder.0.join("missing")).open().unwrap_err().to_string().contains("there is no such folder"));
    folder.photo("photo.png", 3);
    assert!(error().contains("it has no sub folders; want one for each class"), "{}", error());
    folder.file("cats/notes.txt", b"meow");
    assert!(error().contains("it has no photos; 1 file left out"), "{}", error());
    folder.photo("cats/1.png", 3);
    folder.file("dogs/gif.jpg", b"GIF89a\x01\0\x01\0\0\0\0;");
    let one = error();
    assert!(one.contains("all its 1 photos are of one class, 'cats'") && one.contains("gif.jpg"), "{one}");
    let photo = encoded(pattern(), ImageFormat::Png);
    folder.file("dogs/broken.png", &photo[..photo.len() / 2]);
    // Two classes by the headers, one by the pixels.
    assert!(folder.open().open().is_ok());
    assert!(folder.open().load().unwrap_err().to_string().contains("of one class, 'cats'"));
    // A test set may be of one class.
    assert_eq!(folder.open().classes(["cats", "dogs"]).load().unwrap().0.len(), 1);
}

#[cfg(unix)]
#[test]
fn links_and_pipes_hang_nobody() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new("links");
    folder.photo("a/1.png", 1);
    folder.photo("b/2.png", 2);
    symlink(&folder.0, folder.0.join("a/up")).unwrap();
    symlink("loop", folder.0.join("a/loop")).unwrap();
    symlink(".", folder.0.join("b/self")).unwrap();
    symlink("../a", folder.0.join("b/over")).unwrap();
    symlink("nowhere", folder.0.join("b/dangling.png")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(folder.0.join("b/pipe.png")).status().unwrap().success());
    let (data, left_out) = folder.open().open().unwrap();
    // A class may have links to photos of another.
    assert_eq!(data.labels(), [0, 1, 1]);
    println!("{left_out}");
    let why = |name: &str| left_out.files.iter().find(|(path, _)| path.ends_with(name)).map(|(_, why)| why.clone()).unwrap();
    assert!(why("pipe.png").contains("a device or a pipe") && why("b/self").contains("looked through before"));
    assert!(!why("dangling.png").is_empty() && !why("a/loop").is_empty());
}

#[test]
fn a_csv_file_names_photos_and_classes() {
    let folder = Folder::new("csv");
    for (name, colour) in [("x/1.png", 1), ("2.png", 2), ("3, three.png", 3)] {
        folder.photo(name, colour);
    }
    let open = |text: &str| data::image_csv(folder.file("list.csv", text.as_bytes()), &folder.0).size(2, 2).load();
    let (data, left_out) =
        open("path,class,note\nx/1.png,dog,\n\"3, three.png\", cat ,a\n2.png,dog,b\nmissing.png,cat,\n,dog,\n2.png,,\n").unwrap();
    assert_eq!(data.class_names(), ["cat", "dog"]);
    assert_eq!(data.labels(), [1, 0, 1]);
    let firsts: Vec<u8> = data.images().unwrap().as_u8().unwrap().iter().step_by(12).copied().collect();
    assert_eq!((firsts, left_out.files.len()), (vec![1, 3, 2], 3));
    assert!(left_out.to_string().contains("line 6 names no photo"), "{left_out}");
    // Numbers in their order, and columns by their names.
    let path = folder.file("numbers.csv", b"\xef\xbb\xbfid,label,file\n7,10,2.png\n8,9,x/1.png\n");
    let (data, _) = data::image_csv(&path, &folder.0).columns("file", "label").size(2, 2).open().unwrap();
    assert_eq!((data.class_names(), data.labels()), (&["9".to_string(), "10".to_string()][..], &[1, 0][..]));
    let by_id = data::image_csv(&path, &folder.0).columns("file", "kind").open().unwrap_err().to_string();
    assert!(by_id.contains("no column 'kind', want one of: id, label, file"), "{by_id}");
    let error = |text: &str| open(text).unwrap_err().to_string();
    assert!(error("path\n2.png\n").contains("less than two columns"));
    assert!(error("path,class\n2.png,dog\nx/1.png,dog\n").contains("of one class, 'dog'"));
    assert!(error("path,class\n").contains("it has no photos"));
    assert!(error("path,class\n2.png,dog,3\n").contains("list.csv"), "{}", error("path,class\n2.png,dog,3\n"));
    assert!(data::image_csv(folder.0.join("missing.csv"), &folder.0).open().unwrap_err().to_string().contains("missing.csv"));
    assert!(data::image_csv(&path, Path::new("nowhere")).open().unwrap_err().to_string().contains("no such folder"));
}
