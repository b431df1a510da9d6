/** Texts of the dialog that credits many clicks of an advertiser. */
export const credits = {
  action: 'Credit many clicks',
  title: (name: string) => `Credit clicks of ${name}`,
  about:
    'Gives the charges of many clicks back to the budget, each once. The clicks stay in the ledger as they were, and reports show the sums as first reported and as corrected.',
  list: {
    file: 'File',
    fileHint:
      'An export in NDJSON or CSV, also as a spreadsheet saved it, or a click id a line. Plain or gzip.',
    removeFile: 'Remove the file',
    pasted: 'Or paste click ids, one a line',
    pastedHint: 'Rows of an export can be pasted too.',
    pastedOff: 'The list is in the file. Remove it to paste click ids instead.',
    submit: 'Check the list',
    none: 'Choose a file, or paste click ids.',
    empty: 'The list has no click id.',
    noCharges: (passedOver: string) =>
      `The list has no charges: ${passedOver} of its lines are of clicks that were not charged, or of credits.`,
    wrong: (line: number, got: string) =>
      `Line ${line}: expected a click id or a row of an export in NDJSON or CSV, got “${got}”. Nothing was sent.`,
    tooMany: (count: string) =>
      `Expected at most ${count} clicks. Split the list, or use the command “click credit --file”.`,
    workbook:
      'This is a spreadsheet file or a zip archive. Save the sheet as CSV, or unpack the archive, and choose that file.',
    notText: 'Expected a text file in UTF-8, or in UTF-16 with a byte order mark, plain or gzip.',
    damaged: 'Expected a complete gzip file, got one that is truncated, damaged or joined from several.',
    unreadable:
      'The browser cannot read this file. It may have changed since it was chosen: choose it again.',
    noGzip: 'This browser cannot read gzip. Unpack the file first.',
  },
  confirm: {
    question: (count: number, shown: string, name: string) =>
      count === 1
        ? `Credit one click of ${name}? Its charge is given back to the budget.`
        : `Credit ${shown} clicks of ${name}? Each charge is given back to the budget.`,
    rules:
      'A click that was credited before is not credited again. Clicks of other advertisers, clicks that were not charged and clicks that the ledger does not have are refused; the result lists them.',
    clicks: 'Clicks in the list',
    passedOver: 'Passed over',
    passedOverSub: 'Rows that are no charges',
    repeated: 'Listed again',
    repeatedSub: 'Counted once',
    back: 'Back',
    submit: (count: number, shown: string) => (count === 1 ? 'Credit one click' : `Credit ${shown} clicks`),
  },
  sending: {
    meter: 'Clicks that are done',
    done: (sent: string, all: string) => `${sent} of ${all} clicks are done`,
    about:
      'Keep this window open until all are done. If it is closed, repeat the list: each click is credited once.',
    stop: 'Stop',
    stopping: 'Stopping after the clicks that were sent last …',
    retrying: (problem: string) => `${problem} Trying again: each click is credited once.`,
  },
  result: {
    done: 'Done: all clicks of the list are credited.',
    doneRefused: (count: number, shown: string) =>
      count === 1 ? 'Done. One click was refused.' : `Done. ${shown} clicks were refused.`,
    stopped: (left: string) => `Stopped. ${left} clicks of the list were not sent.`,
    failed: (left: string) =>
      `Not all clicks are done: ${left} are left. Continue, or repeat the list later: each click is credited once.`,
    continue: 'Continue',
    credited: 'Credited',
    creditedSub: 'Each once',
    givenBack: 'Given back',
    givenBackSub: 'Sum of the credits',
    already: 'Already credited',
    alreadySub: 'Nothing was added',
    refused: 'Refused',
    refusedSub: 'Not credited',
    left: 'Not sent',
    table: 'Refused clicks',
    columns: { reason: 'Reason', clicks: 'Clicks', first: 'First ids' },
    reasons: {
      other_advertiser: 'Clicks of other advertisers',
      unknown: 'Not in the ledger, or rejected',
      day_closed: 'Of a day that the ledger has no rows of any more: adjust the budget instead',
    },
    notCharged: (outcome: string, reason: string | null) =>
      reason === null ? `Not charged: ${outcome}` : `Not charged: ${outcome}, ${reason}`,
    csv: 'Refused clicks as CSV',
  },
} as const;
