//! JPEG and PNG: what a file is by its first bytes, its pixels under limits, and its pixels in a [`PhotoFormat`].

use super::{PhotoFormat, Resize};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use fast_image_resize as fir;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Most pixels of a photo: 100 million.
pub const MAX_PHOTO_PIXELS: u64 = 100_000_000;

/// Most bytes of a photo's file: 256 MiB.
pub const MAX_PHOTO_FILE: u64 = 256 << 20;

/// Most bytes that a decoder takes for a photo: 1 GiB. 100 million pixels of four channels of 16 bits are 800 MB.
const MAX_DECODER: u64 = 1 << 30;

/// Most segments before a JPEG's frame: cameras write some tens.
const MAX_SEGMENTS: usize = 10_000;

const WANT: &str = "want JPEG or PNG";

/// What the first bytes of a photo's file say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    format: ImageFormat,
    width: u32,
    height: u32,
    /// Bytes of the file before the frame's pixels.
    len: u64,
}

/// Reads a photo in the format that a network takes: u8 `[height, width, channels]`.
///
/// A photo is a JPEG or PNG file, by its content whatever its name is, turned upright as its EXIF data say. Channels are those of the file:
/// a transparent photo's colours are taken as they are (as by Pillow's `convert("RGB")` and Keras), 16 bits become the nearest 8. Grey is
/// 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601, as in Pillow and Keras).
///
/// # Errors
/// [`Error::File`] for a file that is missing, is no photo, is cut short or broken, has more than [`MAX_PHOTO_FILE`] bytes or, by its header,
/// more than [`MAX_PHOTO_PIXELS`] pixels, which is found before memory is taken for them; [`Error::Invalid`] for a format that
/// [`PhotoFormat::check`] refuses.
pub fn read_photo(path: impl AsRef<Path>, format: &PhotoFormat) -> Result<Tensor> {
    format.check()?;
    Tensor::u8(format.shape(), read_pixels(path.as_ref(), format)?)
}

/// The bytes of [`read_photo`], in a format that [`PhotoFormat::check`] accepts.
pub(super) fn read_pixels(path: &Path, format: &PhotoFormat) -> Result<Vec<u8>> {
    read(path).and_then(|bytes| decode(&bytes, format)).map_err(|message| Error::file(path, message))
}

/// [`read_photo`] from the bytes of a file.
///
/// # Errors
/// [`Error::Invalid`], for the same reasons.
pub fn decode_photo(bytes: &[u8], format: &PhotoFormat) -> Result<Tensor> {
    format.check()?;
    let pixels = decode(bytes, format).map_err(|message| Error::invalid("photo", message, "a whole JPEG or PNG file"))?;
    Tensor::u8(format.shape(), pixels)
}

/// Reads a photo at its own size, upright, with the channels that it has; under the limits of [`read_photo`].
///
/// # Errors
/// [`Error::File`], as for [`read_photo`].
pub fn open_photo(path: impl AsRef<Path>) -> Result<DynamicImage> {
    let path = path.as_ref();
    let upright = |bytes: Vec<u8>| {
        let (mut photo, orientation) = pixels(&bytes)?;
        photo.apply_orientation(orientation);
        Ok(photo)
    };
    read(path).and_then(upright).map_err(|message| Error::file(path, message))
}

/// Fails, saying why, unless this file's first bytes are a photo's whose size is within the limits. Its pixels aren't looked at.
pub(super) fn check_photo(path: &Path) -> Result<(), String> {
    let file = open(path)?;
    header(&mut BufReader::new(file)).map(drop)
}

fn open(path: &Path) -> Result<File, String> {
    // Before it is opened: a pipe would wait for somebody to write.
    let metadata = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !metadata.is_file() {
        return Err(format!("it is {}, want a file", if metadata.is_dir() { "a folder" } else { "a device or a pipe" }));
    }
    if metadata.len() > MAX_PHOTO_FILE {
        return Err(format!("it has {} bytes, want at most {MAX_PHOTO_FILE}", metadata.len()));
    }
    File::open(path).map_err(|e| e.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    open(path)?.take(MAX_PHOTO_FILE).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// Reads the header, and fails if what it says is beyond the limits.
fn header(reader: &mut (impl BufRead + Seek)) -> Result<Header, String> {
    let short = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => "its header is cut short".to_string(),
        _ => e.to_string(),
    };
    let mut start = Vec::new();
    reader.by_ref().take(24).read_to_end(&mut start).map_err(short)?;
    let number = |bytes: &[u8]| bytes.iter().fold(0u32, |v, &b| v << 8 | u32::from(b));
    let header = match image::guess_format(&start) {
        _ if start.is_empty() => return Err("it is empty".to_string()),
        Ok(format @ ImageFormat::Png) => {
            if start.len() < 24 || start[12..16] != *b"IHDR" {
                return Err("it starts as PNG, but has no header".to_string());
            }
            Header { format, width: number(&start[16..20]), height: number(&start[20..24]), len: 24 }
        }
        Ok(format @ ImageFormat::Jpeg) => {
            reader.seek(std::io::SeekFrom::Start(2)).map_err(short)?;
            let [height, width] = jpeg_frame(reader).map_err(short)?.ok_or("it starts as JPEG, but has no frame")?;
            Header { format, width, height, len: reader.stream_position().map_err(short)? }
        }
        Ok(other) => return Err(format!("it is {}, {WANT}", format!("{other:?}").to_uppercase())),
        Err(_) if start.get(4..8) == Some(b"ftyp") => return Err(format!("it is HEIF or a video, {WANT}")),
        Err(_) => return Err(format!("it is no picture, {WANT}")),
    };
    let Header { width, height, .. } = header;
    if width == 0 || height == 0 {
        return Err(format!("its header says {width} x {height} pixels"));
    }
    if u64::from(width) * u64::from(height) > MAX_PHOTO_PIXELS {
        return Err(format!("its header says {width} x {height} pixels, want at most {MAX_PHOTO_PIXELS} in all"));
    }
    Ok(header)
}

/// Height and width in the first frame header (ITU-T T.81, B.2.2) behind the start of a JPEG, if there is one.
fn jpeg_frame(reader: &mut (impl BufRead + Seek)) -> std::io::Result<Option<[u32; 2]>> {
    fn bytes<const N: usize>(reader: &mut impl Read) -> std::io::Result<[u8; N]> {
        let mut bytes = [0; N];
        reader.read_exact(&mut bytes).map(|()| bytes)
    }
    for _ in 0..MAX_SEGMENTS {
        // A marker is 0xff, as often as it likes, and its code.
        if bytes::<1>(reader)? != [0xff] {
            return Ok(None);
        }
        let mut code = 0xff;
        while code == 0xff {
            [code] = bytes(reader)?;
        }
        match code {
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&code) => {
                let [_, _, _, h0, h1, w0, w1] = bytes(reader)?;
                return Ok(Some([[h0, h1], [w0, w1]].map(|side| u32::from(u16::from_be_bytes(side)))));
            }
            // Start of the scan, end, and what has no length.
            0x00 | 0xd8..=0xda => return Ok(None),
            0x01 | 0xd0..=0xd7 => {}
            _ => {
                let len = i64::from(u16::from_be_bytes(bytes(reader)?));
                if len < 2 {
                    return Ok(None);
                }
                reader.seek_relative(len - 2)?;
            }
        }
    }
    Ok(None)
}

/// All pixels as the file has them, and how they are to be turned.
fn pixels(bytes: &[u8]) -> Result<(DynamicImage, Orientation), String> {
    let header = header(&mut Cursor::new(bytes))?;
    // Without its end a JPEG decodes to a photo that is grey from somewhere on. No other byte behind the header can be it.
    if header.format == ImageFormat::Jpeg && !bytes[header.len as usize..].windows(2).rev().any(|pair| pair == [0xff, 0xd9]) {
        return Err("it is cut short: a JPEG's end is missing".to_string());
    }
    let decode = || -> image::ImageResult<(DynamicImage, Orientation)> {
        let mut reader = ImageReader::with_format(Cursor::new(bytes), header.format);
        let mut limits = Limits::default();
        limits.max_image_width = Some(header.width);
        limits.max_image_height = Some(header.height);
        limits.max_alloc = Some(MAX_DECODER);
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder()?;
        limits.reserve(decoder.total_bytes())?;
        // Broken EXIF data are no reason to lose a photo.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        Ok((DynamicImage::from_decoder(decoder)?, orientation))
    };
    // What a decoder makes of a broken file must not end a run of hours.
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("it is broken: its decoder stopped".to_string()),
    }
}

/// The pixels in a format that [`PhotoFormat::check`] accepts.
fn decode(bytes: &[u8], format: &PhotoFormat) -> Result<Vec<u8>, String> {
    let (photo, orientation) = pixels(bytes)?;
    // Scaled first and turned then, which moves fewer pixels.
    let turned = !matches!(
        orientation,
        Orientation::NoTransforms | Orientation::Rotate180 | Orientation::FlipHorizontal | Orientation::FlipVertical
    );
    let [height, width] = if turned { [format.width, format.height] } else { [format.height, format.width] };
    let format = PhotoFormat { height, width, ..*format };
    let (width, height) = (photo.width(), photo.height());
    let pixels = if format.channels == 1 { into_grey(photo) } else { photo.into_rgb8().into_raw() };
    let scaled = scale(&pixels, [height, width], &format)?;
    drop(pixels);
    let (width, height) = (format.width as u32, format.height as u32);
    let mut photo = if format.channels == 1 {
        GrayImage::from_raw(width, height, scaled).map(DynamicImage::ImageLuma8)
    } else {
        RgbImage::from_raw(width, height, scaled).map(DynamicImage::ImageRgb8)
    }
    .ok_or("it can't be scaled")?;
    photo.apply_orientation(orientation);
    Ok(photo.into_bytes())
}

fn into_grey(photo: DynamicImage) -> Vec<u8> {
    if !photo.color().has_color() {
        return photo.into_luma8().into_raw();
    }
    // In parts of 65,536, rounded.
    let grey = |p: &[u8]| (19_595 * u32::from(p[0]) + 38_470 * u32::from(p[1]) + 7_471 * u32::from(p[2]) + 32_768) >> 16;
    photo.into_rgb8().chunks_exact(3).map(|p| grey(p) as u8).collect()
}

/// Pixels of `[height, width]` with the format's channels, brought to its size.
fn scale(pixels: &[u8], [height, width]: [u32; 2], format: &PhotoFormat) -> Result<Vec<u8>, String> {
    let [h, w] = [f64::from(height), f64::from(width)];
    let [h_out, w_out] = [format.height as f64, format.width as f64];
    let (down, right) = (h_out / h, w_out / w);
    let options = fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Bilinear)).use_alpha(false);
    let (options, [rows, columns]) = match format.resize {
        Resize::Stretch => (options, [format.height, format.width]),
        Resize::Crop => {
            let factor = down.max(right);
            let [part_h, part_w] = [(h_out / factor).min(h), (w_out / factor).min(w)];
            (options.crop((w - part_w) / 2.0, (h - part_h) / 2.0, part_w, part_h), [format.height, format.width])
        }
        Resize::Pad => {
            let factor = down.min(right);
            let side = |len: f64, most: usize| ((len * factor).round() as usize).clamp(1, most);
            (options, [side(h, format.height), side(w, format.width)])
        }
    };
    let resize = if format.channels == 1 { resized::<fir::pixels::U8> } else { resized::<fir::pixels::U8x3> };
    let scaled = resize(pixels, [width, height], [columns as u32, rows as u32], &options)?;
    if [rows, columns] == [format.height, format.width] {
        return Ok(scaled);
    }
    let mut padded = vec![0; format.shape().elements()];
    let (top, left) = ((format.height - rows) / 2, (format.width - columns) / 2);
    let line = columns * format.channels;
    for (y, from) in scaled.chunks_exact(line).enumerate() {
        let at = ((top + y) * format.width + left) * format.channels;
        padded[at..at + line].copy_from_slice(from);
    }
    Ok(padded)
}

/// `pixels` of `[width, height]` in another size. For one type of pixels at a time: the resizer that looks at run time would bring its code for
/// all thirteen.
fn resized<P: fir::PixelTrait>(
    pixels: &[u8],
    [width, height]: [u32; 2],
    [columns, rows]: [u32; 2],
    options: &fir::ResizeOptions,
) -> Result<Vec<u8>, String> {
    let source = fir::images::TypedImageRef::<P>::from_buffer(width, height, pixels).map_err(|e| e.to_string())?;
    let mut scaled = vec![0; columns as usize * rows as usize * size_of::<P>()];
    let mut view = fir::images::TypedImage::<P>::from_buffer(columns, rows, &mut scaled).map_err(|e| e.to_string())?;
    fir::Resizer::new().resize_typed(&source, &mut view, options).map_err(|e| e.to_string())?;
    Ok(scaled)
}
