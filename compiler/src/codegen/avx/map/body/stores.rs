//! Stores of an assembled map: one vector or scalar, floats or bytes.

use super::super::super::operands::{Binary, Lanes, Vector, Width};
use super::super::key::{Operand, Over};
use super::super::walk::Written;
use super::Body;
use crate::codegen::fallback::FallbackReason;
use crate::kernel::{Element, Mode};

impl Body<'_, '_> {
    pub(super) fn store(&mut self, store: usize) -> Written {
        let store = &self.key.stores[store];
        let mut value = self.vector(store.value)?;
        let place = &store.place;
        if place.element == Element::U8 {
            return self.store_bytes(value, place);
        }
        if self.key.over == Over::Lanes {
            let sum = self.registers.temporary(self.emitter)?;
            let to = self.memory(place, 0);
            if store.mode == Mode::Accumulate {
                self.emitter.broadcast(sum, to);
                self.emitter.binary(Binary::Add, sum, sum, value);
                value = sum;
            }
            self.emitter.store_first(value, to);
            return Ok(());
        }
        if place.lane != 1 {
            return Err(FallbackReason::ScatteredResults.into());
        }
        let lanes = self.site.lanes;
        if store.mode == Mode::Accumulate {
            let sum = self.registers.temporary(self.emitter)?;
            let to = self.memory(place, 0);
            match lanes {
                Lanes::All => self.emitter.binary(Binary::Add, sum, value, to),
                Lanes::Masked(_) => {
                    self.emitter.load(sum, to, lanes);
                    self.emitter.binary(Binary::Add, sum, sum, value);
                }
            }
            value = sum;
        }
        let to = self.memory(place, 0);
        self.emitter.store(value, to, lanes);
        Ok(())
    }

    fn store_bytes(&mut self, value: Vector, place: &Operand) -> Written {
        if self.key.over == Over::Lanes || place.lane != 1 {
            return Err(FallbackReason::ScatteredBytes.into());
        }
        let lanes = self.site.lanes;
        let free = match (self.emitter.width, lanes) {
            (Width::Bits512, _) => [value; 2],
            (Width::Bits256, Lanes::All) => {
                [self.registers.temporary(self.emitter)?, self.registers.temporary(self.emitter)?]
            }
            (Width::Bits256, Lanes::Masked(_)) => return Err(FallbackReason::SomeBytes.into()),
        };
        let to = self.memory(place, 0);
        self.emitter.store_bytes(value, to, lanes, free);
        Ok(())
    }
}
