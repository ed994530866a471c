import { mount } from 'svelte';
import App from './app.svelte';
import { LOADERS } from './pages';
import { routeOf } from './router.svelte';
import './styles/tokens.css';
import './styles/base.css';

// The page's own module is on its way before the shell is drawn; what goes wrong with it is told where it is shown.
LOADERS[routeOf(location.pathname).page]?.().catch(() => undefined);

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no element #app');
mount(App, { target });
