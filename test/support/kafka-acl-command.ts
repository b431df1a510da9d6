import kafkajs, { type AclEntry } from 'kafkajs';

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs;

/** One operation that an `acl` command of docs/brokers.md allows. */
export type Acl = {
  /** Without `User:`. */
  readonly principal: string;
  readonly operation: string;
  readonly type: 'topic' | 'group';
  readonly name: string;
  readonly prefixed: boolean;
};

/** The operations that lines such as `acl --allow-principal User:a --operation Read --topic t` allow; options as of `kafka-acls.sh`. */
export function aclsOf(commands: string): Acl[] {
  return commands.split('\n').flatMap((line) => {
    if (!line.startsWith('acl --')) return [];
    const all = (option: string) =>
      [...line.matchAll(new RegExp(`--${option} (\\S+)`, 'g'))].map(([, value = '']) => value);
    const [principal = ''] = all('allow-principal');
    const [topic] = all('topic');
    const [group] = all('group');
    const resource =
      topic === undefined
        ? ({ type: 'group', name: group ?? '' } as const)
        : ({ type: 'topic', name: topic } as const);
    const [pattern] = all('resource-pattern-type');
    return all('operation').map((operation) => ({
      principal: principal.replace('User:', ''),
      operation,
      ...resource,
      prefixed: pattern === 'prefixed',
    }));
  });
}

const OPERATIONS: Readonly<Record<string, number>> = {
  Read: AclOperationTypes.READ,
  Write: AclOperationTypes.WRITE,
  Create: AclOperationTypes.CREATE,
  Delete: AclOperationTypes.DELETE,
  Alter: AclOperationTypes.ALTER,
};

/** The same for kafkajs, to be created and, as a filter, to be deleted. */
export function kafkaEntry({ principal, operation, type, name, prefixed }: Acl): AclEntry {
  const known = OPERATIONS[operation];
  if (known === undefined) throw new Error(`Expected an operation of Kafka, got ${operation}`);
  return {
    resourceType: type === 'topic' ? AclResourceTypes.TOPIC : AclResourceTypes.GROUP,
    resourceName: name,
    resourcePatternType: prefixed ? ResourcePatternTypes.PREFIXED : ResourcePatternTypes.LITERAL,
    principal: `User:${principal}`,
    host: '*',
    operation: known,
    permissionType: AclPermissionTypes.ALLOW,
  };
}
