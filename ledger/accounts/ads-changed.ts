/** PostgreSQL `NOTIFY` channel for changes of an advertiser's ads. The payload is the advertiser's id. */
export const ADS_CHANGED_CHANNEL = 'tollway_ads_changed';
