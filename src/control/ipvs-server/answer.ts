/**
 * What the kernel's IPVS answers to netlink (spec 9.1, 9.2): request datagram in, answer datagrams
 * out, from the director in place of ip_vs_ctl.c. Checks come in the order of the kernel's
 * genl_family_rcv_msg and ip_vs_genl_*, so that a request with several faults gets the same error.
 */
import type { InfoView, Outcome, ServiceView } from '../api/views.js'
import type { Command } from '../model/commands.js'
import { findService } from '../model/config.js'
import type { Config } from '../model/config.js'
import { ERRORS } from '../model/errors.js'
import type { Result } from '../model/errors.js'
import type { Service, ServiceId } from '../model/service.js'
import {
  CONTROL_COMMAND,
  CONTROL_FAMILY,
  CONTROL_REPLY_VERSION,
  packFamily,
  unpackFamilyRequest,
} from '../netlink/ctrl.js'
import { ERRNO } from '../netlink/errno.js'
import {
  COMMAND,
  commandOf,
  IPVS_FAMILY,
  IPVS_VERSION,
  ipvsFamily,
  REPLY_COMMAND,
} from '../netlink/ipvs-attributes.js'
import type { CommandName } from '../netlink/ipvs-attributes.js'
import {
  packDaemonReply,
  packDestinationReply,
  packInfo,
  packServiceReply,
  packTimeouts,
  unpackCommand,
} from '../netlink/ipvs-messages.js'
import type { CommandAttributes } from '../netlink/ipvs-messages.js'
import {
  isDump,
  MESSAGE_FLAG,
  MESSAGE_TYPE,
  packDone,
  packError,
  packReply,
  splitMessages,
  unpackGeneric,
} from '../netlink/message.js'
import type { Message } from '../netlink/message.js'
import { changeOf } from './change.js'
import { PRIVATE } from './private-protocol.js'
