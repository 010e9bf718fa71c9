//! The programs in the book, `docs/book`, as documentation tests: an item for each chapter.

macro_rules! chapters {
    ($($chapter:ident: $file:literal;)*) => {$(
        #[doc = include_str!($file)]
        struct $chapter;
    )*};
}

chapters! {
    Introduction: "../docs/book/src/introduction.md";
    FirstNetwork: "../docs/book/src/first-network.md";
    Regression: "../docs/book/src/regression.md";
    Perceptrons: "../docs/book/src/perceptrons.md";
    Layers: "../docs/book/src/layers.md";
    Convolutions: "../docs/book/src/convolutions.md";
    ModernConvolutions: "../docs/book/src/modern-convolutions.md";
    Recurrent: "../docs/book/src/recurrent.md";
    ModernRecurrent: "../docs/book/src/modern-recurrent.md";
    Attention: "../docs/book/src/attention.md";
    Optimisation: "../docs/book/src/optimisation.md";
    Images: "../docs/book/src/images.md";
    FineTuning: "../docs/book/src/fine-tuning.md";
    Deployment: "../docs/book/src/deployment.md";
    Performance: "../docs/book/src/performance.md";
    Options: "../docs/book/src/options.md";
    Compiler: "../docs/book/src/compiler.md";
    FromPyTorch: "../docs/book/src/from-pytorch.md";
    Mistakes: "../docs/book/src/mistakes.md";
    Contributing: "../docs/book/src/contributing.md";
}
