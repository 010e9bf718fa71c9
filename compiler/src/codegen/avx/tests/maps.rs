//! Maps whose code must spill, respect an order of stores, or be shared.

use super::super::Width;
use super::super::map::{Argument, MapKey, build};
use super::{call, widths};
use crate::kernel::{Address, BufferId, Element, Extent, Map, MapBuilder, Reducer, SizeId, Stmt};

fn finished(map: MapBuilder) -> Map {
    match map.finish() {
        Stmt::Map(map) => *map,
        other => panic!("{other:?}"),
    }
}

fn at(buffer: usize, element: usize) -> Address {
    Address::start(BufferId(buffer)).offset(element)
}

/// Runs a map on buffers, at a batch size.
fn run(map: &Map, width: Width, batch: usize, buffers: &mut [Vec<f32>]) {
    let (key, arguments) = MapKey::of(map);
    let code = build(&key, width).unwrap();
    let mut table: Vec<usize> = arguments
        .iter()
        .map(|argument| match argument {
            Argument::Pointer(Address { buffer, offset }, element) => {
                buffers[buffer.index()].as_mut_ptr().addr() + element.bytes() * offset.constant as usize
            }
            Argument::Count(Extent::Open(SizeId::BATCH, count)) => batch * count,
            other => panic!("{other:?}"),
        })
        .collect();
    call(&code, table.as_mut_ptr().addr(), 0);
}

/// Every sum needs every difference, and there are more of them than registers.
#[test]
fn values_that_do_not_fit_the_registers() {
    const COUNT: usize = 44;
    const LANES: usize = 53;
    let mut map = MapBuilder::new(Extent::Fixed(LANES));
    let loads: Vec<_> = (0..COUNT).map(|index| map.load(at(0, index * LANES), 1)).collect();
    let differences: Vec<_> =
        (0..COUNT).map(|index| map.subtract(loads[index], loads[(index + 1) % COUNT])).collect();
    for row in 0..3 {
        let mut sum = differences[row];
        for (column, &difference) in differences.iter().enumerate() {
            let factor = map.constant(((row * column) % 5) as f64);
            let term = map.multiply(difference, factor);
            sum = map.add(sum, term);
        }
        map.store(at(1, row * LANES), 1, sum);
    }
    let map = finished(map);
    for width in widths() {
        let x: Vec<f32> = (0..COUNT * LANES).map(|index| (index * index % 23) as f32).collect();
        let mut buffers = [x.clone(), vec![f32::NAN; 3 * LANES + 1]];
        run(&map, width, 1, &mut buffers);
        let difference =
            |index: usize, lane: usize| x[index * LANES + lane] - x[(index + 1) % COUNT * LANES + lane];
        for row in 0..3 {
            for lane in 0..LANES {
                let terms = (0..COUNT).map(|column| difference(column, lane) * ((row * column) % 5) as f32);
                let expected = difference(row, lane) + terms.sum::<f32>();
                assert_eq!(buffers[1][row * LANES + lane], expected, "{width:?} row {row} lane {lane}");
            }
        }
        assert!(buffers[1][3 * LANES].is_nan());
    }
}

/// The second result needs what the first overwrites.
#[test]
fn results_in_the_place_of_operands() {
    for lanes in [Extent::Fixed(5), Extent::Fixed(16), Extent::Open(SizeId::BATCH, 1)] {
        let mut map = MapBuilder::new(lanes);
        let (a, b) = (map.load(at(0, 0), 1), map.load(at(1, 0), 1));
        let sum = map.add(a, b);
        map.store(at(0, 0), 1, sum);
        let difference = map.subtract(a, b);
        map.store(at(1, 0), 1, difference);
        let map = finished(map);
        for width in widths() {
            let count = match lanes {
                Extent::Fixed(count) => count,
                _ => 217,
            };
            let x: Vec<f32> = (0..count).map(|index| index as f32).collect();
            let mut buffers = [x, vec![2.0; count]];
            run(&map, width, count, &mut buffers);
            let expected = |by: f32| (0..count).map(|index| index as f32 + by).collect::<Vec<f32>>();
            assert_eq!(buffers, [expected(2.0), expected(-2.0)], "{width:?} {lanes:?}");
        }
    }
}

/// Windows with every number of loops, short and long, over vectors of every length.
#[test]
fn sums_over_windows_and_lanes() {
    for (window, strides) in [
        (vec![3], vec![40]),
        (vec![150], vec![2]),
        (vec![2, 250], vec![7, 1]),
        (vec![2, 30, 40], vec![3, 2, 1]),
        (vec![2, 3, 5, 7], vec![9, 4, 2, 1]),
    ] {
        for lanes in [1, 7, 8, 16, 40, 300, 9001] {
            let steps: usize = window.iter().product();
            let extents: Vec<Extent> = window.iter().map(|&count| Extent::Fixed(count)).collect();
            let mut over_window = MapBuilder::new(Extent::Fixed(lanes)).window(&extents);
            let element = over_window.load_window(at(0, 0), 1, &strides);
            let sum = over_window.fold_window(&[Reducer::Sum(element)])[0];
            over_window.store(at(1, 0), 1, sum);
            let mut over_all = MapBuilder::new(Extent::Fixed(lanes)).window(&extents);
            let element = over_all.load_window(at(0, 0), 1, &strides);
            let results = over_all.fold_lanes(&[Reducer::Sum(element), Reducer::Max(element)]);
            over_all.store(at(1, 0), 0, results[0]);
            over_all.store(at(1, 1), 0, results[1]);
            let (over_window, over_all) = (finished(over_window), finished(over_all));

            let reach: usize = window.iter().zip(&strides).map(|(count, stride)| (count - 1) * stride).sum();
            let x: Vec<f32> = (0..reach + lanes).map(|index| (index % 7) as f32 - 3.0).collect();
            let element = |step: usize, lane: usize| {
                let (mut rest, mut place) = (step, lane);
                for (&count, stride) in window.iter().zip(&strides).rev() {
                    place += rest % count * stride;
                    rest /= count;
                }
                x[place]
            };
            let sums: Vec<f32> =
                (0..lanes).map(|lane| (0..steps).map(|step| element(step, lane)).sum()).collect();
            let largest = (0..lanes).flat_map(|lane| (0..steps).map(move |step| (step, lane)));
            let largest = largest.map(|(step, lane)| element(step, lane)).fold(f32::MIN, f32::max);
            for width in widths() {
                let mut buffers = [x.clone(), vec![f32::NAN; lanes]];
                run(&over_window, width, 1, &mut buffers);
                assert_eq!(buffers[1], sums, "{width:?} {window:?} over {lanes}");
                let mut buffers = [x.clone(), vec![f32::NAN; 2]];
                run(&over_all, width, 1, &mut buffers);
                assert_eq!(buffers[1], [sums.iter().sum(), largest], "{width:?} {window:?} and {lanes}");
            }
        }
    }
}

/// Sums of equal numbers, whose rounding errors all have the same sign: over windows, over lanes, and over both, with
/// sizes known at compile time or at run time, and several at once.
#[test]
fn sums_in_blocks() {
    const TENTH: f32 = 0.1;
    for (window, lanes) in [
        (vec![Extent::Fixed(100)], Extent::Fixed(5)),
        (vec![Extent::Fixed(5000)], Extent::Fixed(77)),
        (vec![Extent::Fixed(3), Extent::Fixed(70), Extent::Fixed(31)], Extent::Fixed(40)),
        (vec![Extent::Open(SizeId::BATCH, 9)], Extent::Fixed(33)),
        (vec![Extent::Open(SizeId::BATCH, 1), Extent::Fixed(900)], Extent::Fixed(33)),
        (vec![], Extent::Fixed(60_007)),
        (vec![], Extent::Open(SizeId::BATCH, 50)),
        (vec![Extent::Open(SizeId::BATCH, 1)], Extent::Open(SizeId::BATCH, 20)),
        (vec![Extent::Fixed(2)], Extent::Fixed(9000)),
    ] {
        let batch = 999;
        let count = |extent: &Extent| match *extent {
            Extent::Fixed(count) => count,
            Extent::Open(_, count) => batch * count,
            _ => unreachable!("neither floors nor shares"),
        };
        let (steps, width_of_lanes) = (window.iter().map(count).product::<usize>(), count(&lanes));
        for sums in [1, 3] {
            let still = vec![0; window.len()];
            let build = |over_lanes: bool| {
                let mut map = MapBuilder::new(lanes).window(&window);
                let element = map.load_window(at(0, 0), 1, &still);
                let mut reducers = vec![Reducer::Sum(element); sums];
                reducers.insert(1, Reducer::Max(element));
                let results = match over_lanes {
                    true => map.fold_lanes(&reducers),
                    false => map.fold_window(&reducers),
                };
                for (index, result) in results.into_iter().enumerate() {
                    map.store(at(index + 1, 0), usize::from(!over_lanes), result);
                }
                finished(map)
            };
            for (map, terms, results) in
                [(build(false), steps, width_of_lanes), (build(true), steps * width_of_lanes, 1)]
            {
                let mut buffers = vec![vec![TENTH; width_of_lanes]];
                buffers.resize(sums + 2, vec![f32::NAN; results]);
                for width in widths() {
                    run(&map, width, batch, &mut buffers);
                    for (index, results) in buffers[1..].iter().enumerate() {
                        let terms = if index == 1 { 1 } else { terms };
                        let truth = f64::from(TENTH) * terms as f64;
                        for &result in results {
                            let error = (f64::from(result) / truth - 1.0).abs();
                            assert!(error <= 1e-6, "{error:.1e} of {terms} terms: {width:?} {map:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn maps_that_differ_in_places_alone_share_a_function() {
    let scaled = |from: Address, to: Address, factor: f64| {
        let mut map = MapBuilder::new(Extent::Fixed(100));
        let (x, next) = (map.load(from.clone(), 1), map.load(from.offset(5), 1));
        let sum = map.add(x, next);
        let factor = map.constant(factor);
        let y = map.multiply(sum, factor);
        map.store(to, 1, y);
        MapKey::of(&finished(map))
    };
    let (first, arguments) = scaled(at(0, 0), at(1, 0), 2.0);
    assert_eq!(arguments.len(), 2, "loads at a constant distance share a pointer");
    assert_eq!(first, scaled(at(7, 30), at(2, 4), 2.0).0);
    assert_ne!(first, scaled(at(0, 0), at(1, 0), 3.0).0);
    assert_ne!(first, scaled(at(0, 0), at(0, 200), 2.0).0, "what is stored may not be read late");
}

/// Bytes as the words that contain them.
fn words(bytes: &[u8]) -> Vec<f32> {
    let word = |bytes: &[u8]| f32::from_bits(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    bytes.chunks_exact(4).map(word).collect()
}

fn bytes(words: &[f32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_bits().to_le_bytes()).collect()
}

/// Integers wider than a byte, stored at any offset; the bytes before and after stay unchanged.
#[test]
fn the_low_bytes_of_integers_are_stored() {
    const FIRST: usize = 3;
    for lanes in (1..70).chain([800, 1003]) {
        let mut map = MapBuilder::new(Extent::Fixed(lanes));
        let x = map.load_as(Element::I32, at(0, 0), 1, &[]);
        map.store_as(Element::U8, at(1, FIRST), 1, x);
        let (key, _) = MapKey::of(&finished(map.clone()));
        let map = finished(map);
        let x: Vec<u32> = (0..lanes as u32).map(|lane| lane.wrapping_mul(0x8765_4321)).collect();
        let mut expected = vec![0xAA; (FIRST + lanes + 1).next_multiple_of(4)];
        for (byte, x) in expected[FIRST..].iter_mut().zip(&x) {
            *byte = *x as u8;
        }
        for width in widths() {
            let is_possible = width == Width::Bits512 || lanes.is_multiple_of(8);
            assert_eq!(build(&key, width).is_ok(), is_possible, "{width:?} {lanes}");
            if is_possible {
                let x = x.iter().map(|&x| f32::from_bits(x)).collect();
                let mut buffers = [x, words(&vec![0xAA; expected.len()])];
                run(&map, width, 1, &mut buffers);
                assert_eq!(bytes(&buffers[1]), expected, "{width:?} {lanes}");
            }
        }
    }
}

/// Bytes, each for one lane or for several neighbours.
#[test]
fn bytes_are_loaded_as_integers() {
    const FIRST: usize = 1;
    for (lanes, repeat) in
        (1..60).flat_map(|lanes| [1, 2, 3].map(|repeat| (lanes, repeat))).chain([(5000, 2)])
    {
        let mut map = MapBuilder::new(Extent::Fixed(lanes));
        let x = map.load_repeated(Element::U8, at(0, FIRST), repeat);
        map.store_as(Element::I32, at(1, 0), 1, x);
        let (key, _) = MapKey::of(&finished(map.clone()));
        let map = finished(map);
        let length = (FIRST + lanes.div_ceil(repeat)).next_multiple_of(4);
        let x: Vec<u8> = (0..length).map(|index| (index * 37 + 200) as u8).collect();
        let expected: Vec<u32> = (0..lanes).map(|lane| u32::from(x[FIRST + lane / repeat])).collect();
        for width in widths() {
            let is_possible = match width {
                Width::Bits512 => lanes < 60,
                Width::Bits256 => lanes.is_multiple_of(8) && repeat <= 2,
            };
            assert_eq!(build(&key, width).is_ok(), is_possible, "{width:?} {lanes} by {repeat}");
            if is_possible {
                let mut buffers = [words(&x), vec![f32::NAN; lanes]];
                run(&map, width, 1, &mut buffers);
                let got: Vec<u32> = buffers[1].iter().map(|word| word.to_bits()).collect();
                assert_eq!(got, expected, "{width:?} {lanes} by {repeat}");
            }
        }
    }
}

/// Unsupported maps are refused, and Cranelift compiles them.
#[test]
fn results_far_apart_are_refused() {
    let mut map = MapBuilder::new(Extent::Fixed(40));
    let x = map.load(at(0, 0), 1);
    map.store(at(1, 0), 3, x);
    let (key, _) = MapKey::of(&finished(map));
    for width in widths() {
        assert!(build(&key, width).is_err());
    }
}

/// Displacements have 32 bits.
#[test]
fn operands_too_far_apart_are_refused() {
    for (element, lane) in [(1 << 29, 1), (0, 1 << 29), (0, 1 << 40)] {
        let mut map = MapBuilder::new(Extent::Fixed(40));
        let (near, far) = (map.load(at(0, 0), lane), map.load(at(0, element), lane));
        let sum = map.add(near, far);
        map.store(at(1, 0), 1, sum);
        let (key, _) = MapKey::of(&finished(map));
        for width in [Width::Bits256, Width::Bits512] {
            assert!(build(&key, width).is_err(), "{element} {lane}");
        }
    }
}
