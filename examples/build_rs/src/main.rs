//! Draws a disc and its edges, which a network finds. The build script has compiled the network: this program depends on one
//! macro, which includes its functions, and has no run-time library of networks.
//!
//! ```sh
//! cargo run --release --manifest-path examples/build_rs/Cargo.toml
//! ```

windlass_include::include_network!(edges);

const HEIGHT: usize = 24;
const WIDTH: usize = 48;

fn draw(pixels: &[f32]) {
    for row in pixels.chunks(WIDTH) {
        let shades = row.iter().map(|pixel| [' ', '.', ':', '+', '#'][(pixel.min(1.0) * 4.0) as usize]);
        println!("{}", shades.collect::<String>());
    }
}

fn main() -> Result<(), edges::Refused> {
    // Characters are twice as high as wide.
    let disc = |pixel: usize| {
        let (down, along) = ((pixel / WIDTH) as f32 - 11.5, ((pixel % WIDTH) as f32 - 23.5) / 2.0);
        if down * down + along * along < 64.0 { 1.0 } else { 0.0 }
    };
    let image: [f32; HEIGHT * WIDTH] = std::array::from_fn(disc);
    let mut strength = [0.0; HEIGHT * WIDTH];
    let mut network = Box::new(edges::Network::new());
    network.run(&image, &mut strength)?;
    draw(&image);
    draw(&strength.map(|strength| strength / 4.0));
    println!("vectors of {} bits", edges::vector_bits());
    Ok(())
}
