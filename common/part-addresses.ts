import type { Config } from './config/config.ts';

/** The URLs of the parts that run on this host with these settings. */
export type PartAddresses = {
  readonly adServerUrl: string;
  readonly adServerOpsUrl: string;
  readonly processorOpsUrl: string;
  readonly consoleUrl: string;
  readonly consoleOpsUrl: string;
};

export function partAddresses(config: Config): PartAddresses {
  const ops = hostOf(config.OPS_HOST);
  return {
    adServerUrl: config.PUBLIC_URL,
    adServerOpsUrl: `http://${ops}:${config.AD_SERVER_OPS_PORT}`,
    processorOpsUrl: `http://${ops}:${config.PROCESSOR_OPS_PORT}`,
    consoleUrl: `http://${hostOf(config.CONSOLE_HOST)}:${config.CONSOLE_PORT}`,
    consoleOpsUrl: `http://${ops}:${config.CONSOLE_OPS_PORT}`,
  };
}

/** The host of a URL for an address that a port listens on. */
function hostOf(address: string): string {
  const host = address === '0.0.0.0' || address === '::' ? 'localhost' : address;
  return host.includes(':') ? `[${host}]` : host;
}
