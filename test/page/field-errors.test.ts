import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { addAccount, post, type TestAccount } from './api.ts';
import { skipped, testBrowser } from './browser.ts';

const { advertisers, campaigns, clicks, login, operations } = texts;

type Form = {
  readonly name: string;
  readonly path: () => string;
  /** The entries of a menu and the buttons that open the form. */
  readonly open: readonly string[];
  /** What is entered, by the labels of the fields. */
  readonly entered: () => Readonly<Record<string, string>>;
  /** The label of the field that is wrong, and a part of what it then says. */
  readonly label: string;
  readonly says: string;
  readonly submit: string;
  /** Whether the fields are on the page itself. */
  readonly isOnPage?: boolean;
  readonly isLoggedOut?: boolean;
};

let account: TestAccount;
const advertiserPath = () => `/advertisers/${account.advertiserId}`;
const TAKEN = 'taken-4711';

/** A form, and a value that only the ledger or another table finds wrong. */
const FORMS: readonly Form[] = [
  {
    name: 'a webhook',
    path: () => '/operations/webhooks',
    open: [operations.webhooks.create],
    entered: () => ({ [operations.webhooks.url]: 'http://billing.example.com/' }),
    label: operations.webhooks.url,
    says: 'The URL of the webhook',
    submit: operations.webhooks.create,
  },
  {
    name: 'a top-up',
    path: advertiserPath,
    open: [advertisers.topUp.action],
    entered: () => ({ [advertisers.topUp.amount]: '7.00', [advertisers.topUp.reference]: account.name }),
    label: advertisers.topUp.reference,
    says: 'was already used',
    submit: advertisers.topUp.submit,
  },
  {
    name: 'an adjustment',
    path: advertiserPath,
    open: [texts.controls.actions, advertisers.adjust.action],
    entered: () => ({ [advertisers.topUp.amount]: '-999.00' }),
    label: advertisers.topUp.amount,
    says: 'budget',
    submit: advertisers.adjust.submit,
  },
  {
    name: 'a new campaign',
    path: advertiserPath,
    open: [campaigns.create.action],
    entered: () => ({ [campaigns.fields.name]: 'Twice', [campaigns.fields.externalId]: TAKEN }),
    label: campaigns.fields.externalId,
    says: TAKEN,
    submit: campaigns.create.submit,
  },
  {
    name: 'the credit of a click',
    path: advertiserPath,
    open: [texts.controls.actions, advertisers.credit.action],
    entered: () => ({ [advertisers.credit.click]: 'no-click' }),
    label: advertisers.credit.click,
    says: 'Expected',
    submit: advertisers.credit.find,
  },
  {
    name: 'the search of a click',
    path: () => '/clicks',
    open: [],
    entered: () => ({ [clicks.reference]: ' ' }),
    label: clicks.reference,
    says: advertisers.credit.missing,
    submit: clicks.find,
    isOnPage: true,
  },
  {
    name: 'the login',
    path: () => '/',
    open: [],
    entered: () => ({ [login.key]: 'tollway_wrong' }),
    label: login.key,
    says: login.wrongKey,
    submit: login.submit,
    isOnPage: true,
    isLoggedOut: true,
  },
];

/** The control of a field; an optional one says so beside its label. */
const controlOf = (page: Page, label: string) =>
  page.getByLabel(new RegExp(`^${label.replace(/[.()]/g, '\\$&')}( \\(${texts.controls.optional}\\))?$`));

describe.skipIf(skipped)('what is wrong with a value stands at its field', () => {
  const browser = testBrowser();
  beforeAll(async () => {
    account = await addAccount({ name: 'Wrong values', budget: '10.00', price: '0.40' });
    await post('/v1/campaigns', { advertiserId: account.advertiserId, name: 'Once', externalId: TAKEN });
  });

  it.each(FORMS)('in the form of $name', async (form) => {
    browser.allow(/^(400|401|404|409|422) /);
    const page = await browser.open(form.path(), form.isLoggedOut ? { key: null } : {});
    for (const name of form.open)
      await page
        .getByText(name, { exact: name !== texts.controls.actions })
        .first()
        .click();
    for (const [label, value] of Object.entries(form.entered())) await controlOf(page, label).fill(value);
    const box = form.isOnPage ? page.locator('form') : page.getByRole('dialog');
    await box.getByRole('button', { name: form.submit, exact: true }).last().click();
    const control = controlOf(page, form.label);
    await expect.poll(() => control.getAttribute('aria-invalid')).toBe('true');
    const about = page.locator(`[id="${await control.getAttribute('aria-describedby')}"]`);
    expect(await about.textContent()).toContain(form.says);
    await expect.poll(() => control.and(page.locator(':focus')).count()).toBe(1);
    expect(await page.getByRole('alert').textContent()).toBe(texts.errors.fields(1));
  });
});
