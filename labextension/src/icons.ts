import { LabIcon } from '@jupyterlab/ui-components';

import agentlabSvg from '../style/icons/agentlab.svg';

/** The mark of agentlab. */
export const agentlabIcon = new LabIcon({ name: 'agentlab:mark', svgstr: agentlabSvg });
