/** The channel on which the database tells ad servers that an advertiser's ads have changed; the payload is its id. */
export const ADS_CHANGED_CHANNEL = 'tollway_ads_changed';
