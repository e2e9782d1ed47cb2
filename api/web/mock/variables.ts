// The variables of a project: what is secret goes in and never comes out.

import type { Variable } from '../src/api/types.ts'
import { accepted, gone, ok, problem, type Route, text } from './answers.ts'

export const VARIABLE_ROUTES: Route[] = [
  ['GET', /^\/api\/projects\/([^/]+)\/variables$/, (world, [id = '']) =>
    ok([...(world.variables.get(id)?.values() ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1)))],
  ['PUT', /^\/api\/projects\/([^/]+)\/variables\/([^/]+)$/, (world, [id = '', name = ''], body) => {
    if (!world.projects.has(id)) return gone()
    if (!/^[A-Za-z_]\w*$/.test(name) || name.startsWith('SAM_')) {
      return problem(422, 'bad_variable_name', "A variable's name has letters, digits and _, begins with no digit, and has at most 128 characters.")
    }
    const known = world.variables.get(id) ?? new Map<string, Variable>()
    const isSecret = body['isSecret'] === true
    known.set(name, { name, isSecret, setAt: world.now(), ...(isSecret ? {} : { value: text(body, 'value') }) })
    world.variables.set(id, known)
    return accepted(world.record('VariableSet', { project: id }, `Variable ${name} set`, 'Owner'))
  }],
  ['DELETE', /^\/api\/projects\/([^/]+)\/variables\/([^/]+)$/, (world, [id = '', name = '']) => {
    world.variables.get(id)?.delete(name)
    return accepted(world.record('VariableRemoved', { project: id }, `Variable ${name} removed`, 'Owner'))
  }],
]
