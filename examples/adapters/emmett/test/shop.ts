import { Pool } from 'pg';
import { randomUUID } from 'node:crypto';
import type { Event } from '@event-driven-io/emmett';

export type ProductAdded = Event<'ProductAdded', { product: string; quantity: number; price: number }>;
export type DiscountApplied = Event<'DiscountApplied', { percent: number }>;
export type CartEvent = ProductAdded | DiscountApplied;
export type Cart = { items: number; total: number };

export const emptyCart = (): Cart => ({ items: 0, total: 0 });

export const evolve = (cart: Cart, event: CartEvent): Cart => {
  switch (event.type) {
    case 'ProductAdded':
      return {
        items: cart.items + event.data.quantity,
        total: cart.total + event.data.quantity * event.data.price,
      };
    case 'DiscountApplied':
      return { ...cart, total: (cart.total * (100 - event.data.percent)) / 100 };
  }
};

export const shoes = (quantity = 1): ProductAdded => ({
  type: 'ProductAdded',
  data: { product: 'shoes', quantity, price: 30 },
});

export const newCart = (): string => `cart-${randomUUID()}`;

/** The database of PGHOST, PGDATABASE and so on. */
export const openPool = (): Pool => new Pool({ max: 20 });
