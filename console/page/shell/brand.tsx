import { texts } from '../texts.ts';
import { Icon } from './icon.tsx';

/** The name of the product with its sign, where there is no navigation. */
export function Brand() {
  return (
    <div class="brand">
      <Icon name="brand" />
      {texts.product}
    </div>
  );
}
