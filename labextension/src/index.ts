import { consolePlugin } from './console/plugin';
import { modelPlugin } from './plugins/model';
import { sidebarPlugin } from './plugins/sidebar';

export { rowsOf } from './model/model';
export { GatewayError } from './model/problems';
export { IAgentlab, type IGateway, type IModel, type IView, type Link } from './tokens';

export default [modelPlugin, sidebarPlugin, consolePlugin];
