"""The contract of a store, in narrow protocols by subject, `Store`, which is composed of them, `NodeStore` and `Unit`.

Nothing here knows a business rule, nothing above knows a backend. What a part promises stands in its module; the laws
of all of them, each a test in `tests/contract/`:

* **One unit, one transaction.** What stands in a `Changes` is committed and on stable storage together, or not at all.
* **Every look-up is by organisation and key.** A row of another organisation is absent. A `Unit` also takes the numbers
  of runs and agents alone: they carry their organisation, and come from rows of it.
* **After is exclusive.** A page after a cursor never repeats the cursor's own row and never skips one.
* Storage errors leave as `StorageFailed`; rows leave as frozen values.
"""

from towerlog.store.base.alerts import AlertStore as AlertStore
from towerlog.store.base.approvals import ApprovalStore as ApprovalStore
from towerlog.store.base.audit import AuditStore as AuditStore
from towerlog.store.base.budgets import BudgetStore as BudgetStore
from towerlog.store.base.content import ContentStore as ContentStore
from towerlog.store.base.identities import Identities as Identities
from towerlog.store.base.identities import IdentityStore as IdentityStore
from towerlog.store.base.identities import Organisations as Organisations
from towerlog.store.base.identities import RemovesOrganisations as RemovesOrganisations
from towerlog.store.base.lanes import LaneStore as LaneStore
from towerlog.store.base.log import LogStore as LogStore
from towerlog.store.base.members import MemberStore as MemberStore
from towerlog.store.base.prices import PriceStore as PriceStore
from towerlog.store.base.retention import RetentionStore as RetentionStore
from towerlog.store.base.rows import RowStore as RowStore
from towerlog.store.base.store import NodeStore as NodeStore
from towerlog.store.base.store import Store as Store
from towerlog.store.base.store import Unit as Unit
from towerlog.store.base.verification import VerificationStore as VerificationStore
