/** Lets one loop wait until something happens. A call of `wake` while nothing waits ends the next wait at once. */
export class WakeUp {
  private isSet = false;
  private resolve: (() => void) | null = null;

  wake(): void {
    this.isSet = true;
    this.resolve?.();
  }

  /** Resolves after `wake`, or after `msMax`. */
  async wait(msMax?: number): Promise<void> {
    if (!this.isSet) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.resolve = resolve;
        if (msMax !== undefined) timer = setTimeout(resolve, msMax);
      });
      clearTimeout(timer);
      this.resolve = null;
    }
    this.isSet = false;
  }
}
