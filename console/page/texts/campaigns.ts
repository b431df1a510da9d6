const PACINGS = {
  none: 'As clicks come',
  even: 'Evenly over the day',
  rest: 'Evenly over the rest of the day',
} as const;

/** Texts of the lists and pages of campaigns and ads. */
export const campaignTexts = {
  title: 'Campaigns',
  one: 'Campaign',
  priceAbove: {
    cap: 'The cap of all clicks is below the price of each active ad: no click can be charged. Raise the cap, or lower a price.',
    daily_cap:
      'The daily cap is below the price of each active ad: no click can be charged. Raise the daily cap, or lower a price.',
    budget_left:
      'What is left of the budget is below the price of each active ad: no click can be charged. Top the budget up.',
    cap_left:
      'What is left of the cap of all clicks is below the price of each active ad: no click can be charged. Raise the cap, or lower a price.',
  },
  columns: {
    name: 'Campaign',
    advertiser: 'Advertiser',
    status: 'Status',
    total: 'Spent of the cap',
    today: 'Today of the daily cap',
    pace: 'Pace',
    dates: 'Dates',
  },
  none: {
    title: 'No campaigns yet',
    lead: 'A campaign groups the ads of an advertiser. It can have dates, a cap for all clicks and a cap for each day.',
    leadReader: 'Somebody with the role manager creates campaigns.',
    openAdvertiser: 'Open an advertiser to create its first campaign.',
    notFound: 'No campaign matches these filters',
  },
  archived: { show: 'Show archived ones', hide: 'Hide archived ones' },
  phases: { not_started: 'Not started', running: 'Running', ended: 'Ended' },
  noCap: 'no cap',
  noDates: 'no dates',
  from: (day: string) => `from ${day}`,
  until: (day: string) => `until ${day}`,
  between: (first: string, last: string) => `${first} – ${last}`,
  pacings: PACINGS,
  ahead: 'Ahead of plan',
  onPlan: 'On plan',
  dailyCapReached: 'Daily cap reached',
  goesOn: (time: string, zone: string) => `goes on at ${time}, ${zone}`,
  stops: {
    noActiveAd: 'no active ad',
    exhausted: 'budget or cap exhausted',
    ends: 'the campaign ends today',
  },
  noActiveAd: 'No active ad',
  exhausted: 'Exhausted',
  create: {
    action: 'New campaign',
    title: (advertiser: string) => `New campaign of ${advertiser}`,
    submit: 'Create the campaign',
    done: (name: string) => `${name} is created. Next: add an ad.`,
  },
  edit: {
    title: (name: string) => `Edit ${name}`,
    done: (name: string) => `${name} is saved.`,
  },
  fields: {
    name: 'Name',
    cap: 'Cap of all clicks',
    capHint: 'The most that all clicks together may cost. Empty: only the budget limits it.',
    dailyCap: 'Daily cap',
    dailyCapHint: 'The most that the clicks of a day may cost. Empty: none.',
    restBelowPrice: (rest: string) =>
      `Only ${rest} of this cap is left, less than a click of any active ad costs. You can save it, but no click will be charged.`,
    belowPrice: (ads: string) =>
      `One click costs more than this cap: ${ads}. You can save it, but such clicks will not be charged.`,
    firstDay: 'First day',
    firstClock: 'from',
    lastDay: 'Last day',
    lastClock: 'until',
    dayMissing: 'A time needs a day. Choose the day, or empty the time.',
    dates: (zone: string) =>
      `Time zone: ${zone}. Without times, whole days. Clicks outside of the dates redirect and are not charged.`,
    pacing: 'How the daily cap is spent',
    pacingHint:
      'A plan over the day needs a daily cap. By itself it only shows the pace: clicks that are ahead of it are charged.',
    endBeforeStart:
      'The campaign would end before it starts. Enter a later last day or an earlier first day.',
    pacingWithoutCap: (pacing: string) =>
      `“${pacing}” needs a daily cap. Enter one, or choose “${PACINGS.none}”.`,
    holdWithoutFallback: 'Visitors can only be sent to a fallback URL if there is one.',
    hold: 'Send visitors to the fallback URL while the campaign is ahead of its plan',
    fallbackUrl: 'Fallback URL',
    fallbackUrlHint:
      'Where visitors go while the budget or a cap is exhausted. Empty: to the destination of the ad, without a charge.',
    externalId: 'External id',
    externalIdHint: 'The id that another system gave it. Unique for the advertiser.',
  },
  spend: {
    title: 'Spend',
    total: 'All clicks',
    totalOf: (cap: string) => `of the cap of ${cap}`,
    today: 'Today',
    todayOf: (cap: string) => `of the daily cap of ${cap}`,
    noCap: 'No cap: the budget limits it',
    noDailyCap: 'No daily cap',
    notCounted: 'Counted with a daily cap only',
    left: 'Left',
    leftOfCap: (amount: string) => `Left: ${amount}, what is left of the cap of all clicks`,
    pace: 'Pace',
    planned: (share: string) => `${share} planned by now`,
    aheadUntil: (time: string) => `Ahead until ${time}`,
    meterTotal: 'Share of the cap that is spent',
    meterToday: 'Share of the daily cap that is spent; the line marks the plan',
  },
  settings: {
    title: 'Settings',
    dates: 'Dates',
    pacing: 'Pacing',
    hold: 'Hold',
    holdOn: 'Visitors go to the fallback URL while it is ahead of its plan',
    holdOff: 'Visitors go to the destination also while it is ahead of its plan',
    fallbackUrl: 'Fallback URL',
    externalId: 'External id',
    timeZone: 'Time zone',
    none: 'none',
  },
  report: 'Report',
} as const;

export const adTexts = {
  title: 'Ads',
  /** The name of an ad with its id, which tells ads of the same name apart; or its id alone. */
  name: (id: number, name: string | null) => (name === null ? `Ad ${id}` : `${name} (ad ${id})`),
  id: (id: number) => `Ad ${id}`,
  picker: {
    unknown: (text: string) => `No ad has “${text}” in its name.`,
    several: (text: string, names: string) =>
      `Several ads have “${text}” in their name: ${names}. Choose one from the list, or enter its number.`,
    unchanged: 'The view stays as it was.',
  },
  columns: {
    ad: 'Ad',
    campaign: 'Campaign',
    status: 'Status',
    price: 'Price of a click',
    destination: 'Destination',
  },
  none: {
    title: 'No ads yet',
    lead: 'An ad is a destination with a price for each click. Links name an ad, so its price and destination can change later.',
    leadReader: 'Somebody with the role manager adds ads.',
    openCampaign: 'Open a campaign to add its first ad.',
    notFound: 'No ad matches these filters',
  },
  create: {
    action: 'New ad',
    title: (campaign: string) => `New ad of ${campaign}`,
    submit: 'Add the ad',
    done: (ad: string) => `${ad} is added. Next: make a link.`,
  },
  edit: {
    title: (ad: string) => `Edit ${ad}`,
    about: 'A new price or destination is for later clicks. Links stay the same.',
    done: (ad: string) => `${ad} is saved.`,
  },
  fields: {
    name: 'Name',
    nameHint: 'Such as Banner 300x250, blue. Lists and reports show it; visitors never see it.',
    price: 'Price of a click',
    priceHint: 'Such as 0.25.',
    aboveCap: (cap: string) =>
      `Above the cap of the campaign of ${cap}. You can save it, but clicks will not be charged.`,
    aboveCapLeft: (rest: string) =>
      `Above what is left of the cap of the campaign, ${rest}. You can save it, but clicks will not be charged.`,
    aboveDailyCap: (cap: string) =>
      `Above the daily cap of the campaign of ${cap}. You can save it, but clicks will not be charged.`,
    urlTemplate: 'Destination',
    urlTemplateHint:
      'The page that visitors get to, with https://. {click_id}, {ad_id} and {campaign_id} are replaced.',
    passParameters: 'Parameters that are passed on',
    passParametersHint:
      'Names of query parameters of the link that the destination gets too, such as utm_*, gclid. Separated by commas.',
  },
  spend: {
    title: 'Clicks and spend',
    today: 'Today',
    days: (days: number) => `Last ${days} days`,
    clicks: (charged: string, others: string) => `clicks charged: ${charged}, not charged: ${others}`,
    corrected: (amount: string) => `corrected: ${amount}, without what credits gave back`,
  },
  settings: {
    title: 'Settings',
    price: 'Price of a click',
    destination: 'Destination',
    pass: 'Passes on',
    none: 'none',
  },
  links: {
    title: 'Links',
    lead: 'Each link is signed: its ad and its publisher cannot be changed. Links are not stored; make as many as you need.',
    kind: 'Kind',
    kinds: { impression: 'Impression links: charged once', evergreen: 'Evergreen link: every click counts' },
    kindHints: {
      impression:
        'Each link is charged once and expires. For sites that ask for a link at each view of the ad.',
      evergreen: 'Every click counts, and the link never expires. For print, QR codes and newsletters.',
    },
    publisher: 'Publisher',
    publisherHint: 'The site that shows the link: letters, digits, - and _. Reports show its clicks.',
    count: 'Number of links',
    countHint: '1–10,000, each for one view.',
    expires: 'Expires after',
    days: 'days',
    expiresHint: 'Empty: 30 days.',
    daysExpected: (text: string) => `Expected a whole number of days such as 30, got “${text}”`,
    submit: 'Make links',
    submitOne: 'Make a link',
    made: (count: string) => `${count} links`,
    madeOne: 'Your link',
    first: (count: string) => `The first ${count}:`,
    copyAll: 'Copy all',
    open: 'Open',
    openAbout: 'Opening it is a click. It is charged like any other, once for each link.',
    openAboutEvergreen: 'Opening it is a click. It is charged like any other, each time.',
    saveText: 'Download as text',
    saveCsv: 'Download as CSV',
    saveQr: 'Download QR code',
    qr: 'QR code of the link',
    qrOnce: 'This link is charged once. For a code that many people scan, make an evergreen link.',
    done: (count: string) => (count === '1' ? 'The link is made.' : `${count} links are made.`),
    noRight: 'Somebody with the role manager makes links.',
  },
} as const;
