//! A tensor's elements: windows onto shared memory, one kind for each dtype.

use std::fmt;
use std::sync::Arc;

use bytemuck::NoUninit;
use bytes::Bytes;
use half::{bf16, f16};

use crate::dtype::DType;
use crate::packed::Packed;
use crate::storage::{Storage, StringStorage};

mod sealed {
    /// Other crates cannot implement it, nor what needs it.
    pub trait Sealed {}
}

/// A Rust type of the elements of a dtype. Each dtype that is served has one, except `string`. Other crates cannot implement it:
/// unsafe code relies on it that a type has the size of its dtype.
pub trait Scalar: NoUninit + Default + fmt::Debug + PartialEq + Send + Sync + sealed::Sealed {
    /// The dtype whose elements have the same bits as this type.
    const DTYPE: DType;

    /// Whether every pattern of bits is a valid element.
    const TAKES_ANY_BITS: bool;

    /// Makes a storage of elements in the machine's byte order. Copies them only if some patterns of bits are no valid elements.
    ///
    /// # Panics
    /// If `bytes` are not whole elements.
    fn storage(bytes: Bytes) -> Arc<dyn Storage<Self>>;

    /// Wraps a buffer of this type as values.
    fn into_values(buffer: Buffer<Self>) -> Values;

    /// Gives the buffer within values of this type. `None` for values of another type.
    fn of_values(values: &Values) -> Option<&Buffer<Self>>;

    /// Appends the element's bytes in little-endian order.
    fn write_le(self, out: &mut Vec<u8>);

    /// Reads an element from its bytes in little-endian order.
    ///
    /// # Panics
    /// If `bytes` is not exactly as long as one element.
    fn read_le(bytes: &[u8]) -> Self;
}

macro_rules! scalar {
    ($($type:ty => $variant:ident, |$value:ident, $out:ident| $write:expr, |$bytes:ident| $read:expr;)*) => {$(
        impl sealed::Sealed for $type {}

        impl Scalar for $type {
            const DTYPE: DType = DType::$variant;
            const TAKES_ANY_BITS: bool = true;

            fn storage(bytes: Bytes) -> Arc<dyn Storage<Self>> {
                Arc::new(Packed::new(bytes))
            }

            fn into_values(buffer: Buffer<Self>) -> Values {
                Values::$variant(buffer)
            }

            fn of_values(values: &Values) -> Option<&Buffer<Self>> {
                if let Values::$variant(buffer) = values {
                    Some(buffer)
                } else {
                    None
                }
            }

            fn write_le(self, $out: &mut Vec<u8>) {
                let $value = self;
                $write;
            }

            fn read_le($bytes: &[u8]) -> Self {
                $read
            }
        }
    )*};
}

macro_rules! numbers {
    ($($type:ty => $variant:ident),* $(,)?) => {
        scalar! {
            $($type => $variant, |value, out| out.extend_from_slice(&value.to_le_bytes()),
                |bytes| Self::from_le_bytes(bytes.try_into().expect("one element's bytes; this is a bug"));)*
        }
    };
}

macro_rules! complex_numbers {
    ($($part:ty => $variant:ident),* $(,)?) => {
        scalar! {
            $([$part; 2] => $variant, |value, out| value.into_iter().for_each(|part| part.write_le(out)),
                |bytes| {
                    let (real, imaginary) = bytes.split_at(size_of::<$part>());
                    [real, imaginary].map(<$part>::read_le)
                };)*
        }
    };
}

numbers! {
    f16 => Float16, bf16 => Bfloat16, f32 => Float32, f64 => Float64,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
}

// The real part and the imaginary part.
complex_numbers! { f32 => Complex64, f64 => Complex128 }

impl sealed::Sealed for bool {}

impl Scalar for bool {
    const DTYPE: DType = DType::Bool;
    const TAKES_ANY_BITS: bool = false;

    fn storage(bytes: Bytes) -> Arc<dyn Storage<Self>> {
        Arc::new(bytes.iter().map(|&byte| byte != 0).collect::<Vec<bool>>())
    }

    fn into_values(buffer: Buffer<Self>) -> Values {
        Values::Bool(buffer)
    }

    fn of_values(values: &Values) -> Option<&Buffer<Self>> {
        if let Values::Bool(buffer) = values {
            Some(buffer)
        } else {
            None
        }
    }

    fn write_le(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }

    fn read_le(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }
}

/// A window onto shared scalars.
#[derive(Clone)]
pub struct Buffer<T> {
    storage: Arc<dyn Storage<T>>,
    start: usize,
    len: usize,
}

impl<T: Scalar> Buffer<T> {
    /// Makes a window onto all of `storage`.
    pub(crate) fn new(storage: Arc<dyn Storage<T>>) -> Self {
        let len = storage.count();
        Self { storage, start: 0, len }
    }

    /// The elements in the window.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.storage.as_slice()[self.start..self.start + self.len]
    }

    /// The bytes of the elements in the window, in the machine's byte order. Their address may be unaligned.
    pub(crate) fn bytes(&self) -> &[u8] {
        let size = size_of::<T>();
        match self.storage.packed().filter(|_| T::TAKES_ANY_BITS) {
            Some(bytes) => &bytes[self.start * size..(self.start + self.len) * size],
            None => bytemuck::cast_slice(self.as_slice()),
        }
    }

    const fn byte_count(&self) -> usize {
        self.len * size_of::<T>()
    }

    fn window(&self, start: usize, len: usize) -> Self {
        Self { storage: Arc::clone(&self.storage), start: self.start + start, len }
    }
}

/// A window onto shared byte strings.
#[derive(Clone)]
pub struct Strings {
    storage: Arc<dyn StringStorage>,
    start: usize,
    len: usize,
}

impl Strings {
    /// Makes a window onto all of `storage`.
    pub(crate) fn new(storage: Arc<dyn StringStorage>) -> Self {
        let len = storage.count();
        Self { storage, start: 0, len }
    }

    /// How many strings are in the window.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the window has no strings.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of string `index` of the window. They may include NULs.
    ///
    /// # Panics
    /// If the window has no string `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> &[u8] {
        assert!(index < self.len, "string {index} of {}", self.len);
        self.storage.get(self.start + index)
    }

    /// The strings in the window, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (self.start..self.start + self.len).map(|index| self.storage.get(index))
    }

    /// The bytes of all strings together.
    pub(crate) fn byte_count(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }

    fn window(&self, start: usize, len: usize) -> Self {
        Self { storage: Arc::clone(&self.storage), start: self.start + start, len }
    }
}

macro_rules! values {
    ($($variant:ident($type:ty)),* $(,)?) => {
        /// A tensor's elements, by dtype.
        #[derive(Clone)]
        pub enum Values {
            $(#[doc = concat!("Elements of dtype `", stringify!($variant), "`.")] $variant(Buffer<$type>),)*
            /// Byte strings.
            String(Strings),
        }

        impl Values {
            pub(crate) const fn dtype(&self) -> DType {
                match self {
                    $(Self::$variant(_) => DType::$variant,)*
                    Self::String(_) => DType::String,
                }
            }

            pub(crate) fn window(&self, start: usize, len: usize) -> Self {
                match self {
                    $(Self::$variant(buffer) => Self::$variant(buffer.window(start, len)),)*
                    Self::String(strings) => Self::String(strings.window(start, len)),
                }
            }

            pub(crate) fn byte_count(&self) -> usize {
                match self {
                    $(Self::$variant(buffer) => buffer.byte_count(),)*
                    Self::String(strings) => strings.byte_count(),
                }
            }

            pub(crate) fn bytes(&self) -> Option<&[u8]> {
                match self {
                    $(Self::$variant(buffer) => Some(buffer.bytes()),)*
                    Self::String(_) => None,
                }
            }
        }

        impl fmt::Debug for Values {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(buffer) => buffer.as_slice().fmt(f),)*
                    Self::String(strings) => f.debug_list().entries(strings.iter().map(String::from_utf8_lossy)).finish(),
                }
            }
        }

        impl PartialEq for Values {
            fn eq(&self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$variant(a), Self::$variant(b)) => a.as_slice() == b.as_slice(),)*
                    (Self::String(a), Self::String(b)) => a.iter().eq(b.iter()),
                    _ => false,
                }
            }
        }
    };
}

values! {
    Float16(f16), Bfloat16(bf16), Float32(f32), Float64(f64),
    Int8(i8), Int16(i16), Int32(i32), Int64(i64),
    Uint8(u8), Uint16(u16), Uint32(u32), Uint64(u64),
    Bool(bool), Complex64([f32; 2]), Complex128([f64; 2]),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_little_endian() {
        let mut out = Vec::new();
        258_u16.write_le(&mut out);
        bf16::from_f32(1.0).write_le(&mut out);
        assert_eq!(out, [2, 1, 0x80, 0x3f]);
        assert_eq!(u16::read_le(&out[..2]), 258);
        out.clear();
        [1.0_f32, -2.0].write_le(&mut out);
        assert_eq!(out, [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
        assert_eq!(<[f32; 2]>::read_le(&out), [1.0, -2.0]);
        out.clear();
        [true, false].into_iter().for_each(|value| value.write_le(&mut out));
        assert_eq!(out, [1, 0]);
        assert_eq!([0, 1, 255].map(|byte| bool::read_le(&[byte])), [false, true, true]);
    }
}
