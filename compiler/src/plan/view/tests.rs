//! Tests of views.

use super::{Layout, View};
use crate::kernel::{Address, BufferId, Element, SizeId};
use crate::plan::Size;

/// A batch of images of open height, of some channels and width.
fn image(layout: Layout, [channels, width]: [usize; 2], strides: [Size; 4]) -> View {
    let open = Size { open: Some(SizeId(1)), elements: 1 };
    let batch = Size { open: Some(SizeId::BATCH), elements: 1 };
    let extents = vec![batch, Size::fixed(channels), open, Size::fixed(width)];
    let address = Address::start(BufferId(0));
    View { address, element: Element::F32, layout, extents: extents.into(), strides: strides[..].into() }
}

fn open(elements: usize) -> Size {
    Size { open: Some(SizeId(1)), elements }
}

#[test]
fn axes_of_one_index_may_be_anywhere() {
    let strides = [open(15), Size::fixed(1), Size::fixed(15), Size::fixed(3)];
    let last = image(Layout::channels_last(4), [3, 5], strides);
    assert!(last.is_dense() && !last.is_plain());
    assert_eq!((last.pixels(), last.pixel(), last.channels()), (open(5), 3, 3));
    assert_eq!(last.in_layout(&Layout::channels_first(4)), None);
    assert_eq!(last.part(1, 2).address.offset.constant, 1);
    assert!(!last.part(1, 2).is_dense());

    let strides = [open(5), Size::fixed(1), Size::fixed(5), Size::fixed(1)];
    let single = image(Layout::channels_last(4), [1, 5], strides);
    let first = single.in_layout(&Layout::channels_first(4)).unwrap();
    assert_eq!(first.strides[..], [open(5), open(5), Size::fixed(5), Size::fixed(1)]);
    assert_eq!(first.in_layout(&Layout::channels_last(4)), Some(single));
}

#[test]
fn a_transposed_value_is_a_view() {
    let strides = [open(15), Size::fixed(1), Size::fixed(15), Size::fixed(3)];
    let last = image(Layout::channels_last(4), [3, 5], strides);
    let plain = last.transposed(&[0, 2, 3, 1]);
    assert_eq!(plain.layout, Layout::channels_first(4));
    assert!(plain.is_plain());
    assert_eq!(plain.transposed(&[0, 3, 1, 2]), last);
    let other = last.transposed(&[0, 3, 2, 1]).layout;
    assert_eq!(other.to_string(), "axes in the order [0, 2, 1, 3]");
}
