/** An id with its name for a person, such as `4 (Spring)`; the id alone if the name is not known. */
export function withName(id: number | string, name: string | null | undefined): string {
  return name ? `${id} (${name})` : String(id);
}
